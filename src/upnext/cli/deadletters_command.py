"""`upnext deadletters`: what the gate refused, why, and trying it again."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from upnext.cli.group import Group
from upnext.cli.home import opened_home
from upnext.cli.options import home_option, json_option
from upnext.cli.output import hand_over
from upnext.cli.screen import ScreenSteps
from upnext.clock import SystemClock
from upnext.contracts.gate import GATE_VERSION
from upnext.errors import DataError
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import KINDS, DeadLetter, Kind, Selection, Totals, view
from upnext.ingest.replay import Door, ReplayReport, replay, replay_with
from upnext.ingest.replay_doors import home_doors
from upnext.settings import load_settings

_clock = SystemClock()
_reason_option = click.option("--reason", metavar="CODE", help="Only those refused for this, as timestamp_in_seconds.")
_producer_option = click.option("--producer", metavar="NAME", help="Only those of this producer.")
_kind_option = click.option("--kind", type=click.Choice(KINDS), help="Only this kind of record.")


@click.group("deadletters", cls=Group)
def deadletters_command() -> None:
    """List, show and replay what the gate refused. Works beside a running server, which applies what passes."""


@deadletters_command.command("list")
@home_option
@_reason_option
@_producer_option
@_kind_option
@click.option("--after", type=int, default=0, metavar="NUMBER", help="Only higher numbers, to go on from a page.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most to list.")
@json_option
def list_letters(
    home: Path,
    reason: str | None,
    producer: str | None,
    kind: Kind | None,
    after: int,
    limit: int,
    json_path: Path | None,
) -> None:
    """The letters that wait, oldest first.

    \b
    Example:
      upnext deadletters list --home shop --reason timestamp_in_seconds
    """
    with _opened(home) as letters:
        page = letters.page(after, limit, reason, producer, kind)
        waiting = letters.totals().waiting
    if not hand_over([view(letter) for letter in page], json_path):
        return
    table = Table("number", "kind", "received", "reason", "producer", "bytes", "what is wrong")
    for letter in page:
        cells = (str(letter.number), letter.kind, _moment(letter.received_ms), letter.reason, letter.producer)
        table.add_row(*(Text(_printable(cell)) for cell in (*cells, f"{len(letter.raw):,}", letter.message)))
    Console().print(table)
    click.echo(f"{len(page):,} shown, {waiting:,} waiting in all")


@deadletters_command.command("show")
@click.argument("number", type=int)
@home_option
@click.option("--raw", is_flag=True, help="Write the refused bytes, unchanged, and nothing else.")
@json_option
def show_letter(number: int, home: Path, raw: bool, json_path: Path | None) -> None:
    """One letter and why it was refused.

    \b
    Example, to mend one:
      upnext deadletters show 17 --home shop --raw > event.json
      (edit event.json)
      upnext deadletters replay 17 --home shop --with event.json
    """
    with _opened(home) as letters:
        letter = letters.get(number)
    if letter is None:
        raise DataError(f"there is no dead letter {number}; it was replayed, dropped or removed, see the list")
    if raw:
        click.echo(letter.raw, nl=False)
    elif hand_over(view(letter), json_path):
        _print_letter(letter)


@deadletters_command.command("replay")
@click.argument("numbers", type=int, nargs=-1, metavar="[NUMBER]...")
@home_option
@_reason_option
@_producer_option
@_kind_option
@click.option("--after-upgrade", is_flag=True, help="Only those refused by another version of the gate than this one.")
@click.option("--all", "everything", is_flag=True, help="All that wait.")
@click.option(
    "--with", "fixed", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Take the bytes of FILE in the place of the one letter NUMBER.",
)  # fmt: skip
@click.option("--content-type", metavar="TYPE", help="Of FILE.  [default: the letter's]")
@json_option
def replay_letters(
    numbers: tuple[int, ...],
    home: Path,
    reason: str | None,
    producer: str | None,
    kind: Kind | None,
    after_upgrade: bool,
    everything: bool,
    fixed: Path | None,
    content_type: str | None,
    json_path: Path | None,
) -> None:
    """Put letters through the gate again: what passes goes into the log, what does not stays.

    Doing it twice adds nothing twice. Exit status 1 when something chosen stays refused.

    \b
    Examples:
      upnext deadletters replay 17 18 --home shop
      upnext deadletters replay --home shop --after-upgrade
    """
    chosen = Selection(
        numbers=numbers or None, reason=reason, producer=producer, kind=kind, after_upgrade=after_upgrade
    )
    _check_choice(chosen, everything, fixed, content_type)
    with _opened(home) as letters, _doors(home) as doors:
        now: dict[str, Any] = {"now_ms": _clock.now_ms(), "gate": GATE_VERSION}
        if fixed:
            report = replay_with(letters, numbers[0], fixed.read_bytes(), doors, content_type=content_type, **now)
        else:
            with ScreenSteps().step("replay") as progress:
                report = replay(letters, chosen, doors, **now)
                progress(1, 1, f"{report.replayed:,} replayed")
    if hand_over(report, json_path):
        _print_report(report)
    if report.still_refused:
        sys.exit(1)


@deadletters_command.command("stats")
@home_option
@json_option
def show_stats(home: Path, json_path: Path | None) -> None:
    """How many wait and why, and what became of the others.

    \b
    Example:
      upnext deadletters stats --home shop
    """
    with _opened(home) as letters:
        totals = letters.totals()
    if hand_over(totals, json_path):
        _print_totals(totals)


def _check_choice(chosen: Selection, everything: bool, fixed: Path | None, content_type: str | None) -> None:
    """Raises `click.UsageError` unless it is plain which letters are meant."""
    numbers = chosen.numbers or ()
    filtered = bool(chosen.reason or chosen.producer or chosen.kind or chosen.after_upgrade)
    if fixed and (len(numbers) != 1 or filtered or everything):
        raise click.UsageError("--with mends one letter; give exactly one NUMBER and nothing else that chooses")
    if content_type and not fixed:
        raise click.UsageError("--content-type says what FILE is; give --with FILE too")
    if everything and (numbers or filtered):
        raise click.UsageError("--all means every letter; leave it out to choose by number or filter")
    if not (numbers or filtered or everything):
        raise click.UsageError(
            "nothing is chosen; give numbers, --reason, --producer, --kind, --after-upgrade or --all"
        )


@contextmanager
def _opened(home: Path) -> Iterator[DeadLetters]:
    if not home.is_dir():
        raise DataError(f"there is no home folder at {home}; check --home")
    settings = load_settings(home, os.environ).dead_letters
    with closing(DeadLetters(home / "deadletters", settings, _clock)) as letters:
        yield letters


@contextmanager
def _doors(home: Path) -> Iterator[dict[str, Door]]:
    """The doors of the home, which is a tenant's own where it lies in a folder `tenants`."""
    path = home.resolve()
    tenant = path.name if path.parent.name == "tenants" else "default"
    with opened_home(home) as opened:
        records = opened.records
        yield home_doors(opened.event_log.append, records.put_items, records.put_users, tenant=tenant)


def _print_letter(letter: DeadLetter) -> None:
    table = Table(show_header=False, box=None)
    rows = {
        "number": str(letter.number),
        "kind": letter.kind,
        "reason": letter.reason,
        "path": letter.path,
        "what is wrong": letter.message,
        "schema": letter.schema,
        "producer": letter.producer,
        "received": _moment(letter.received_ms),
        "content type": letter.content_type,
        "gate": letter.gate,
        "bytes": f"{len(letter.raw):,}",
    }
    for name, value in rows.items():
        table.add_row(name, Text(_printable(value)))
    Console().print(table)
    shown = view(letter)
    click.echo(repr(letter.raw) if shown.text is None else _printable(shown.text, keep="\n\t"))


def _print_report(report: ReplayReport) -> None:
    if report.missing:
        click.echo(f"not in the queue (any more): {', '.join(map(str, report.missing))}")
    click.echo(
        f"{report.replayed:,} replayed ({report.records:,} records written, {report.duplicates:,} known already, "
        f"{report.withheld:,} without consent), {report.still_refused:,} still refused"
    )
    if report.by_reason:
        Console().print(_reasons(report.by_reason))


def _print_totals(totals: Totals) -> None:
    table = Table("letters", "")
    for name in ("waiting", "replayed", "removed", "dropped_by_size", "dropped_by_age", "withheld"):
        table.add_row(name.replace("_", " "), f"{getattr(totals, name):,}")
    table.add_row("MiB waiting", f"{totals.waiting_bytes / 2**20:,.1f}")
    table.columns[1].justify = "right"
    Console().print(table)
    if totals.by_reason:
        Console().print(_reasons(totals.by_reason))


def _reasons(by_reason: dict[str, int]) -> Table:
    table = Table("refused for", "letters")
    for reason, count in sorted(by_reason.items(), key=lambda row: (-row[1], row[0])):
        table.add_row(Text(_printable(reason)), f"{count:,}")
    table.columns[1].justify = "right"
    return table


def _moment(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _printable(text: str, keep: str = "") -> str:
    """The text without what a terminal would obey: a producer wrote it."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
