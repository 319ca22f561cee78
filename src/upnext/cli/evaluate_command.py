"""`upnext evaluate`: how good a release is, beside baselines, on what it was trained without."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from upnext.cli.completing import release_ids
from upnext.cli.home import opened_home
from upnext.cli.options import home_option, json_option, set_option
from upnext.cli.output import as_json, hand_over
from upnext.cli.release_report import made_by
from upnext.cli.screen import ScreenSteps, console
from upnext.ingest.importers.user_items import read_user_items
from upnext.release.releases import Releases
from upnext.settings import load_settings

if TYPE_CHECKING:
    from upnext.training.cold_start import ColdStart
    from upnext.training.report import EvaluationReport

_NARROWEST = 150  # columns of a screen that the tables fit into


@click.command("evaluate")
@home_option
@click.option("--split", type=click.Choice(["leave-one-out", "time", "stream"]), default="leave-one-out",
              show_default=True, help="What is asked; the release was trained without the answers.")  # fmt: skip
@click.option("--release", "release_id", shell_complete=release_ids, help="Which release.  [default: the active one]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of intervals, and baselines that draw at random.")
@click.option("--sessions-ending", default="", metavar="TEXT",
              help="With stream: ask only for sessions whose id ends in this.")  # fmt: skip
@click.option("--cold-start", is_flag=True,
              help="Instead: quality by a user's first 0 to 10 interactions, with and without content.")  # fmt: skip
@click.option("--most-users", type=click.IntRange(min=10), default=1_000, show_default=True,
              help="With --cold-start: ask about at most so many users.")  # fmt: skip
@click.option("--test", "test_path", type=click.Path(exists=True, path_type=Path), metavar="FILE",
              help="Instead: Recall@20 and NDCG@20 on lines of `user item item ...` held out.")  # fmt: skip
@json_option
@click.option("--png", "png_path", type=click.Path(dir_okay=False, path_type=Path), help="Draw the table to this file.")
@set_option
def evaluate_command(
    home: Path, split: str, release_id: str | None, seed: int, sessions_ending: str, cold_start: bool, most_users: int,
    test_path: Path | None, json_path: Path | None, png_path: Path | None, overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Measure how good a release is, beside baselines, on what it was trained without.

    Full ranking over the whole catalogue, stable sort, seen items dropped: NDCG, HR, MRR @10, recall@500, coverage.
    A second table has the first figure by segments of users and items. Behind a figure stands half the width of its
    95 % interval. The report is kept in the home folder too, where the console shows it with the release.

    \b
    Examples:
      upnext evaluate --home shop --split time --json report.json --png report.png
      upnext evaluate --home shop --split time --cold-start --png cold.png
      upnext evaluate --home shop --test test.txt
    """
    from upnext.cli.pipeline.all_ranking import evaluate_test_file
    from upnext.cli.pipeline.cold_start import cold_start as measure_cold_start
    from upnext.cli.pipeline.evaluation import evaluate_split, evaluate_stream, open_subject
    from upnext.training.report import EvaluationReport

    if cold_start and split == "stream":
        raise click.UsageError("--cold-start goes with --split time or leave-one-out")
    wanted = read_user_items(test_path) if test_path else None
    split = "all-ranking" if wanted is not None else split
    settings, steps = load_settings(home, os.environ, overrides), ScreenSteps()
    with opened_home(home) as opened:
        releases = Releases(home)
        release = releases.open(release_id) if release_id else releases.open_active()
        with steps.step("opening the release"):
            subject = open_subject(release, opened.records, opened.event_log, settings)
        with steps.step("cold start" if cold_start else f"evaluation, split {split}") as progress:
            report: EvaluationReport | ColdStart
            if cold_start:
                report = measure_cold_start(subject, split, settings, seed, most_users, progress)  # type: ignore[arg-type]
            elif wanted is not None:
                measured = evaluate_test_file(subject, release, wanted, settings, seed, progress)
            elif split == "stream":
                measured = evaluate_stream(subject, opened.event_log, settings, sessions_ending, seed, progress)
            else:
                measured = evaluate_split(subject, split, settings, seed, progress)  # type: ignore[arg-type]
        if not cold_start:
            dataset = str(subject.facts["dataset"])
            report = EvaluationReport.of(measured, dataset=dataset, split=split, seed=seed, release=release.id)
    releases.evaluations.keep(release.id, f"cold-start-{split}" if cold_start else split, as_json(report))
    console.width = max(console.width, _NARROWEST)
    if "made_by" in release.manifest.reports:
        console.print(f"release {release.id}, made by {made_by(release.manifest)}", highlight=False)
    if isinstance(report, EvaluationReport):
        _show(report, json_path, png_path)
    else:
        _show_cold_start(report, json_path, png_path)


def _show(report: "EvaluationReport", json_path: Path | None, png_path: Path | None) -> None:
    from upnext.training.report import as_table, segments_table, write_png

    if hand_over(report, json_path):
        console.print(as_table(report))
        if report.segments:
            console.print(segments_table(report))
    if png_path:
        write_png(report, png_path)


def _show_cold_start(report: "ColdStart", json_path: Path | None, png_path: Path | None) -> None:
    from upnext.training.cold_start_report import starts_table, until_table, write_png

    if hand_over(report, json_path):
        console.print(starts_table(report))
        console.print(until_table(report))
        costs = ", ".join(f"{name} {cost:,.0f}" for name, cost in report.content_us.items())
        console.print(f"the content source alone, µs: {costs}", highlight=False)
    if png_path:
        write_png(report, png_path)
