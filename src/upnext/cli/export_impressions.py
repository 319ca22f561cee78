"""`upnext export impressions`: served slates with what became of them, as a Parquet file."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from upnext.cli.options import home_option, json_option
from upnext.cli.output import hand_over
from upnext.cli.screen import ScreenSteps
from upnext.clock import SystemClock
from upnext.errors import DataError
from upnext.ingest.impressions import SCHEMA, impression_batches
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.parquet import write_parquet
from upnext.ingest.served import JoinedSlate
from upnext.ingest.served_consumer import impressions_consumer
from upnext.ingest.served_slates import ServedSlates
from upnext.settings import load_settings


@click.command("impressions")
@home_option
@click.option(
    "--to", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE.parquet",
    help="The file to write; it appears when it is complete.",
)  # fmt: skip
@click.option("--since", type=click.DateTime(), help="Only slates served from this moment on (UTC).")
@json_option
def export_impressions(home: Path, path: Path, since: datetime | None, json_path: Path | None) -> None:
    """What was shown and what came of it, the oldest first: a row for every item of every slate that is kept.

    Outcomes that are in the log and not joined yet are joined first. A server may be running meanwhile.

    \b
    Example:
      upnext export impressions --home shop --to impressions.parquet --since 2026-01-01
    """
    after_ms = int(since.replace(tzinfo=UTC).timestamp() * 1_000) - 1 if since else -1
    n_slates = n_outcomes = n_strangers = 0

    def counted(served: ServedSlates) -> Iterator[JoinedSlate]:
        nonlocal n_slates, n_outcomes, n_strangers
        for joined in served.all(after_ms):
            n_slates += 1
            n_outcomes += len(joined.outcomes)
            n_strangers += joined.strangers()
            yield joined

    with _opened(home) as served, ScreenSteps().step("export of impressions") as show:
        batches = impression_batches(counted(served))
        rows = write_parquet(path, SCHEMA, batches, lambda done: show(done, 0, f"{done:,} rows"))
    size_bytes = path.stat().st_size
    told = {"file": str(path), "rows": rows, "bytes": size_bytes}
    found = {"slates": n_slates, "outcomes": n_outcomes, "outcomes_not_in_slate": n_strangers}
    if hand_over({**told, **found}, json_path):
        click.echo(f"{path}: {rows:,} rows, {size_bytes:,} bytes")
        click.echo(f"{n_slates:,} slates, {n_outcomes:,} outcomes, {n_strangers:,} of them of items not in their slate")


@contextmanager
def _opened(home: Path) -> Iterator[ServedSlates]:
    """The slates of a home, with everything joined that its log has."""
    if not (home / "served").is_dir():
        raise DataError(f"{home} has no served slates; check --home, or serve some requests first")
    clock = SystemClock()
    with ExitStack() as opened:
        event_log = LmdbEventLog(home / "log")
        opened.callback(event_log.close)
        served = ServedSlates(home / "served", load_settings(home, os.environ).impressions, clock)
        opened.callback(served.close)
        consumer = impressions_consumer(event_log, served, home / "consumers", clock)
        opened.callback(consumer.close)
        consumer.catch_up()
        yield served
