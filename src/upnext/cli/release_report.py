"""`upnext release report`: what was tried of a release's ranker, as a table and as a picture; measures nothing."""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from upnext.cli.options import home_option, json_option, release_argument
from upnext.cli.output import hand_over
from upnext.cli.screen import console
from upnext.errors import ReleaseError
from upnext.release.manifest import Manifest
from upnext.release.releases import Releases


@click.command("report")
@release_argument
@home_option
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Draw what was tried into this file.")
@json_option
def report_release(release_id: str | None, home: Path, png: Path | None, json_path: Path | None) -> None:
    """What was tried of a release's ranker, by default the active one's: width, precision, cost, quality.

    \b
    Example:
      upnext release report --home shop --png pareto.png
    """
    releases = Releases(home)
    release = releases.open(release_id) if release_id else releases.open_active()
    rows: list[dict[str, Any]] = release.manifest.reports.get("sweep", [])
    if not rows:
        raise ReleaseError(
            f"release {release.id} holds no report of a sweep; train a new one with compress.sweep = true"
        )
    told = hand_over({"release": release.id, "sweep": rows}, json_path)
    if told:
        console.print(sweep_table(rows))
    if png is not None:
        _draw(rows, release.id, png)
        if told:
            click.echo(png)


def made_by(manifest: Manifest) -> str:
    """How a release came to be, in a word or two."""
    made = manifest.reports.get("made_by")
    if made and not manifest.notes.startswith("grafted"):
        return f"update {made['updates']} of {made['updated_from']}"
    return "graft" if manifest.parent else "training"


def sweep_table(rows: list[dict[str, Any]]) -> Table:
    """What was tried of each exit, the fastest first; ● marks what is served."""
    table = Table(title="exit, width, precision and candidates, on lists kept back")
    for name in ("", "exit", "width", "precision", "candidates", "NDCG@10", "of best", "p50 µs", "bytes", "per item"):
        table.add_column(name, justify="left" if name in ("", "precision") else "right")
    best = max(row["ndcg"] for row in rows) or 1.0
    for row in sorted(rows, key=lambda row: (row["exit_depth"], row["p50_us"])):
        table.add_row(
            "●" if row["chosen"] else "", f"{row['exit_depth']}", f"{row['width']:g}", str(row["precision"]),
            f"{row['candidates']}", f"{row['ndcg']:.4f}", f"{row['ndcg'] / best:.1%}", f"{row['p50_us']:.0f}",
            f"{row['graph_bytes']:,}", f"{row['item_bytes']}",
        )  # fmt: skip
    return table


def _draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    from upnext.compress.pareto import pareto_png
    from upnext.compress.sweep import SweepRow

    records = [msgspec.convert(row, SweepRow) for row in rows]
    chosen = [record for record, row in zip(records, rows, strict=True) if row["chosen"]]
    path.write_bytes(pareto_png(records, chosen, f"ranker of release {title}"))
