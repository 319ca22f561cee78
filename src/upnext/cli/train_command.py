"""`upnext train`: from the log to a new release."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.table import Table

from upnext.cli.home import opened_home
from upnext.cli.options import home_option, json_option, set_option
from upnext.cli.output import hand_over
from upnext.cli.release_report import sweep_table
from upnext.cli.screen import ScreenSteps, console
from upnext.release.releases import Releases
from upnext.settings import load_settings, load_table


@click.command("train")
@home_option
@click.option("--split", type=click.Choice(["leave-one-out", "time"]), default="leave-one-out", show_default=True,
              help="How the ranker's part of the log is set apart from the encoders'.")  # fmt: skip
@click.option("--hold-out/--no-hold-out", default=False, help="Also keep the newest part for `upnext evaluate`.")
@click.option("--cut", type=click.DateTime(), help="With a split by time: where (UTC).  [default: the newest tenth]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that draws at random.")
@click.option("--dataset", default="", help="A name for the data, kept in the release.")
@click.option("--activate/--no-activate", default=True, show_default=True, help="Serve the new release from now on.")
@json_option
@click.option("--update", is_flag=True,
              help="Train new items and the ranker's last layers only, from the events since a release.")  # fmt: skip
@click.option("--release", "release_id", help="With --update: of which release.  [default: the active one]")
@set_option
def train_command(
    home: Path,
    split: str,
    hold_out: bool,
    cut: datetime | None,
    seed: int,
    dataset: str,
    activate: bool,
    json_path: Path | None,
    update: bool,
    release_id: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Train encoders and ranker on the events in HOME, compress, and write a release.

    Settings of the models are in HOME/train.toml; --set session.epochs=10 overrides one. An interrupted run, started
    again, goes on where it stopped.

    With --update all that a release knows stays as it is: minutes become seconds, until the next whole training.

    \b
    Examples:
      upnext train --home shop --split time --hold-out
      upnext train --home shop --update
    """
    from upnext.cli.pipeline.plan import SplitName, TrainSettings
    from upnext.cli.pipeline.run import TrainingRun
    from upnext.cli.pipeline.update import UpdateRun

    if release_id and not update:
        raise click.UsageError("--release goes with --update")
    settings = load_settings(home, os.environ)
    train = load_table(TrainSettings, home / "train.toml", None, overrides)
    cut_ms = int(cut.replace(tzinfo=UTC).timestamp() * 1_000) if cut else None
    releases, name, steps = Releases(home), msgspec.convert(split, SplitName), ScreenSteps()
    with opened_home(home, settings.store) as opened:
        parts = (home, opened.store, opened.records, opened.event_log, settings, train, seed, steps)
        if update:
            before = releases.open(release_id) if release_id else releases.open_active()
            release = UpdateRun(*parts).release(before, dataset, name, hold_out=hold_out, cut_ms=cut_ms)
        else:
            release = TrainingRun(*parts).release(dataset, name, hold_out=hold_out, cut_ms=cut_ms)
    if activate:
        releases.activate(release.id)
    told = {name: release.manifest.reports.get(name) or [] for name in ("sweep", "parity", "trees")}
    if hand_over({"release": release.id, "active": activate, **told}, json_path):
        for name, table in (("sweep", sweep_table), ("parity", parity_table), ("trees", trees_table)):
            if told[name]:
                console.print(table(told[name]))
        if line := worth_line(release.manifest.reports.get("worth_learning")):
            console.print(line)
        click.echo(release.id)


def worth_line(worth: dict[str, float] | None) -> str | None:
    """What to tell of a ranker that was asked whether it gains by learning; None where that was not asked."""
    if worth is None:
        return None
    found = f"learning from {worth['n_lists']:,} lists changes NDCG@10 by {worth['gain']:+.4f} ± {worth['error']:.4f}"
    if worth["gain"] > worth["error"]:
        return f"{found}, on lists not learnt from: the ranker has learnt"
    return f"{found}, on lists not learnt from: the ranker keeps the order that it starts with (lists.few)"


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


def trees_table(rows: list[dict[str, float]]) -> Table:
    """What boosted trees are worth after some of them."""
    table = Table(title="boosted trees on lists kept back")
    for name in ("exit", "NDCG@10", "p50 µs / 500"):
        table.add_column(name, justify="left" if name == "exit" else "right")
    for row in rows:
        table.add_row(str(row["exit"]), f"{row['ndcg']:.4f}", f"{row['p50_us']:.0f}")
    return table
