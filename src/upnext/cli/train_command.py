"""`upnext train`: from the log to a new release."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.table import Table

from upnext.cli.home import opened_home
from upnext.cli.options import home_option, set_option
from upnext.cli.screen import ScreenSteps, console
from upnext.release.releases import Releases
from upnext.settings import load_settings, load_table


@click.command("train")
@home_option
@click.option("--split", type=click.Choice(["leave-one-out", "time"]), default="leave-one-out", show_default=True,
              help="How the ranker's part of the log is set apart from the encoders'.")  # fmt: skip
@click.option("--hold-out/--no-hold-out", default=False, help="Also keep the newest part for `upnext evaluate`.")
@click.option("--cut", type=click.DateTime(), help="With a split by time: where (UTC).  [default: the newest tenth]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--dataset", default="", help="A name for the data, kept in the release.")
@click.option("--activate/--no-activate", default=True, show_default=True, help="Serve the new release from now on.")
@set_option
def train_command(
    home: Path,
    split: str,
    hold_out: bool,
    cut: datetime | None,
    seed: int,
    dataset: str,
    activate: bool,
    overrides: tuple[str, ...],
) -> None:
    """Train encoders and ranker on the events in HOME, compress, and write a release.

    Settings of the models are in HOME/train.toml; --set session.epochs=10 overrides one. An interrupted run, started
    again, goes on where it stopped.

    \b
    Example:
      upnext train --home shop --split time --hold-out
    """
    from upnext.cli.pipeline.plan import SplitName, TrainSettings
    from upnext.cli.pipeline.run import TrainingRun

    settings = load_settings(home, os.environ)
    train = load_table(TrainSettings, home / "train.toml", None, overrides)
    cut_ms = int(cut.replace(tzinfo=UTC).timestamp() * 1_000) if cut else None
    with opened_home(home, settings.store) as opened:
        run = TrainingRun(home, opened.store, opened.records, opened.event_log, settings, train, seed, ScreenSteps())
        release = run.release(dataset, msgspec.convert(split, SplitName), hold_out=hold_out, cut_ms=cut_ms)
    if activate:
        Releases(home).activate(release.id)
    console.print(parity_table(release.manifest.reports["parity"]))
    click.echo(release.id)


def parity_table(rows: list[dict[str, float]]) -> Table:
    """Every exported graph beside its trained model."""
    table = Table(title="exported graphs against the trained ranker")
    for name in ("exit", "precision", "NDCG@10 trained", "NDCG@10 graph", "rank agreement", "bytes", "p50 µs / 500"):
        table.add_column(name, justify="left" if name == "precision" else "right")
    for row in rows:
        table.add_row(
            f"{row['exit_depth']}", str(row["precision"]), f"{row['ndcg_trained']:.4f}", f"{row['ndcg_graph']:.4f}",
            f"{row['rank_agreement']:.4f}", f"{row['graph_bytes']:,}", f"{row['p50_us']:.0f}",
        )  # fmt: skip
    return table
