"""`upnext export`: log and records of a home as Parquet files."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import click
import pyarrow as pa

from upnext.cli.group import Group
from upnext.cli.home import Home, opened_home
from upnext.cli.options import home_option, json_option
from upnext.cli.output import hand_over
from upnext.cli.screen import ScreenSteps
from upnext.errors import DataError
from upnext.ingest.export import EVENT_SCHEMA, ITEM_SCHEMA, USER_SCHEMA, event_batches, item_batches, user_batches
from upnext.ingest.parquet import write_parquet

to_option = click.option(
    "--to", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE.parquet",
    help="The file to write; it appears when it is complete.",
)  # fmt: skip
Show = Callable[[int, int, str], None]


@click.group("export", cls=Group)
def export_command() -> None:
    """Write what a home holds to Parquet files, for other tools and for `upnext import`."""


@export_command.command("events")
@home_option
@to_option
@click.option("--after", type=click.IntRange(min=0), default=0, show_default=True, metavar="SEQUENCE",
              help="Only events above this place in the log; an export prints the place it ended at.")  # fmt: skip
@click.option("--since", type=click.DateTime(), help="Only events that happened from this moment on (UTC).")
@click.option("--until", type=click.DateTime(), help="Only events that happened before this moment (UTC).")
@json_option
def export_events(
    home: Path, path: Path, after: int, since: datetime | None, until: datetime | None, json_path: Path | None
) -> None:
    """The events of the log, in its order.

    \b
    Example:
      upnext export events --home shop --to events.parquet --since 2026-01-01
    """
    with _existing(home) as opened, ScreenSteps().step("export of events") as show:
        last = opened.event_log.last()
        batches = event_batches(
            opened.event_log, after=after, last=last, since_ms=_ms(since), until_ms=_ms(until),
            progress=lambda number: show(number - after, last - after, "events read"),
        )  # fmt: skip
        rows = write_parquet(path, EVENT_SCHEMA, batches)
        show(1, 1, f"log read to {last:,}")
    if _told(path, rows, json_path, next_after=max(after, last)):
        click.echo(f"to go on from here: --after {max(after, last)}")


@export_command.command("items")
@home_option
@to_option
@json_option
def export_items(home: Path, path: Path, json_path: Path | None) -> None:
    """The items, in order of their ids; deleted ones are not in.

    \b
    Example:
      upnext export items --home shop --to items.parquet
    """
    with _existing(home) as opened, ScreenSteps().step("export of items") as show:
        rows = _write(path, ITEM_SCHEMA, item_batches(opened.records.items()), show)
    _told(path, rows, json_path)


@export_command.command("users")
@home_option
@to_option
@json_option
def export_users(home: Path, path: Path, json_path: Path | None) -> None:
    """What is known of users beside their events, in order of their ids.

    \b
    Example:
      upnext export users --home shop --to users.parquet
    """
    with _existing(home) as opened, ScreenSteps().step("export of users") as show:
        rows = _write(path, USER_SCHEMA, user_batches(opened.records.users()), show)
    _told(path, rows, json_path)


def _existing(home: Path) -> AbstractContextManager[Home]:
    if not (home / "log").is_dir():
        raise DataError(f"there is no home at {home}: it has no log; check --home, or run `upnext import` first")
    return opened_home(home)


def _ms(moment: datetime | None) -> int | None:
    return int(moment.replace(tzinfo=UTC).timestamp() * 1_000) if moment else None


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], show: Show) -> int:
    return write_parquet(path, schema, batches, lambda done: show(done, 0, f"{done:,} rows"))


def _told(path: Path, rows: int, json_path: Path | None, **more: int) -> bool:
    """Says what was written; whether to a person."""
    size_bytes = path.stat().st_size
    told = hand_over({"file": str(path), "rows": rows, "bytes": size_bytes, **more}, json_path)
    if told:
        click.echo(f"{path}: {rows:,} rows, {size_bytes:,} bytes")
    return told
