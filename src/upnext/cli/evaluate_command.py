"""`upnext evaluate`: how good a release is, beside baselines, on what it was trained without."""

import os
from pathlib import Path

import click

from upnext.cli.home import opened_home
from upnext.cli.options import home_option, json_option, set_option
from upnext.cli.screen import ScreenSteps, console
from upnext.release.releases import Releases
from upnext.settings import load_settings


@click.command("evaluate")
@home_option
@click.option("--split", type=click.Choice(["leave-one-out", "time", "stream"]), default="leave-one-out",
              show_default=True, help="What is asked; the release was trained without the answers.")  # fmt: skip
@click.option("--release", "release_id", help="Which release.  [default: the active one]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the baselines that draw at random.")
@click.option("--sessions-ending", default="", metavar="TEXT",
              help="With stream: ask only for sessions whose id ends in this.")  # fmt: skip
@json_option
@click.option("--png", "png_path", type=click.Path(dir_okay=False, path_type=Path), help="Draw the table to this file.")
@set_option
def evaluate_command(
    home: Path, split: str, release_id: str | None, seed: int, sessions_ending: str,
    json_path: Path | None, png_path: Path | None, overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Full ranking over the whole catalogue, stable sort, seen items dropped: NDCG, HR, MRR @10, recall@500, coverage.

    \b
    Example:
      upnext evaluate --home shop --split time --json report.json --png report.png
    """
    from upnext.cli.pipeline.evaluation import evaluate_split, evaluate_stream, open_subject
    from upnext.training.report import EvaluationReport, as_table, write_json, write_png

    settings, steps = load_settings(home, os.environ, overrides), ScreenSteps()
    with opened_home(home) as opened:
        releases = Releases(home)
        release = releases.open(release_id) if release_id else releases.open_active()
        with steps.step("opening the release"):
            subject = open_subject(release, opened.records, opened.event_log, settings)
        with steps.step(f"evaluation, split {split}") as progress:
            if split == "stream":
                figures = evaluate_stream(subject, opened.event_log, settings, sessions_ending, progress)
            else:
                figures = evaluate_split(subject, split, settings, seed, progress)  # type: ignore[arg-type]
    report = EvaluationReport(
        dataset=str(subject.facts["dataset"]), split=split, seed=seed, release=release.id, systems=figures
    )
    console.width = max(console.width, 100)
    console.print(as_table(report))
    if json_path:
        write_json(report, json_path)
    if png_path:
        write_png(report, png_path)
