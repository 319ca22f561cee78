"""`upnext import`: a data set or table into a home's log and records, with a report of every row."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from upnext.cli.home import opened_home
from upnext.cli.options import STANDARD_OUTPUT, home_option, json_option
from upnext.cli.output import hand_over
from upnext.clock import SystemClock
from upnext.ingest.importers import run
from upnext.ingest.importers.formats import FORMATS, open_source
from upnext.ingest.importers.mapping import parse_assignments
from upnext.ingest.importers.run import ImportReport, import_into


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@home_option
@click.option("--format", "format_name", metavar="NAME", help=f"{', '.join(FORMATS)}; by default guessed from PATH.")
@click.option("--map", "mapping", multiple=True, metavar="FIELD=COLUMN", help="Column of a table, as user=customer_id.")
@click.option("--items", type=click.Path(path_type=Path), help="A table of items to go with a table of events.")
@click.option("--items-map", "items_mapping", multiple=True, metavar="FIELD=COLUMN", help="Column of the items table.")
@json_option
def import_command(
    path: Path,
    home: Path,
    format_name: str | None,
    mapping: tuple[str, ...],
    items: Path | None,
    items_mapping: tuple[str, ...],
    json_path: Path | None,
) -> None:
    """Import events, items and users from PATH into --home.

    PATH is a published data set (MovieLens, Globo, Online Retail, Open Bandit) as it was downloaded, lines of
    "user item item ..." without times, any table (CSV, TSV, JSON lines, Parquet, also gzipped), or "synthetic" for a
    made-up world that needs no data. Importing the same again adds nothing.

    \b
    Examples:
      upnext import ml-1m.zip --home shop
      upnext import clicks.csv --home shop --map user=customer_id --map item=sku
    """
    clock = SystemClock()
    source = open_source(
        path,
        now_ms=clock.now_ms(),
        format=format_name,
        mapping=parse_assignments(mapping, "--map"),
        items=items,
        items_mapping=parse_assignments(items_mapping, "--items-map"),
    )
    with opened_home(home) as opened, _progress_bar(path.name, hidden=json_path == STANDARD_OUTPUT) as progress:
        report = import_into(source, opened.event_log, opened.records, clock=clock, progress=progress)
    if hand_over(report, json_path):
        _print_report(report, Console())


@contextmanager
def _progress_bar(name: str, *, hidden: bool) -> Iterator[run.Progress]:
    """A bar on standard error that shows the rows read and how far the input is."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as bar:
        task = bar.add_task(f"importing {name}", total=1.0, rows=0)
        yield lambda rows, fraction: bar.update(task, completed=fraction, rows=rows)


def _print_report(report: ImportReport, console: Console) -> None:
    table = Table(title=f"Imported as {report.format}", title_justify="left")
    table.add_column("what")
    table.add_column("rows", justify="right")
    table.add_column("for example", overflow="fold")
    table.add_row("rows read", f"{report.rows_read:,}", "")
    table.add_row("events accepted", f"{report.accepted_events:,}", "")
    table.add_row("events known already", f"{report.duplicates:,}", "")
    table.add_row("events without consent, let go", f"{report.withheld:,}", "")
    table.add_row("items", f"{report.items:,}", "")
    table.add_row("users", f"{report.users:,}", "")
    for reason, count in sorted(report.rejected.items(), key=lambda row: -row[1]):
        table.add_row(f"rejected: {reason}", f"{count:,}", report.examples[reason][0].message)
    console.print(table)
