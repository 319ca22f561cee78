"""`upnext compare`: whether one release is really better than another, or it only looks so."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from upnext.cli.completing import release_ids
from upnext.cli.home import Home, opened_home
from upnext.cli.options import home_option, json_option, set_option
from upnext.cli.output import hand_over
from upnext.cli.screen import ScreenSteps, console
from upnext.release.releases import Releases
from upnext.settings import Settings, load_settings

if TYPE_CHECKING:
    from upnext.training.evaluate import Answered

_NARROWEST = 130


@click.command("compare")
@click.argument("first", shell_complete=release_ids)
@click.argument("second", shell_complete=release_ids)
@home_option
@click.option("--split", type=click.Choice(["leave-one-out", "time", "stream"]), default="leave-one-out",
              show_default=True, help="What is asked; both releases were trained without the answers.")  # fmt: skip
@click.option("--sessions-ending", default="", metavar="TEXT",
              help="With stream: ask only for sessions whose id ends in this.")  # fmt: skip
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the draws that intervals and tests are made of."
)
@json_option
@set_option
def compare_command(
    first: str, second: str, home: Path, split: str, sessions_ending: str, seed: int, json_path: Path | None,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Ask releases FIRST and SECOND the same cases, and say of each figure whether the difference is real.

    It is, when the 95 % interval of the difference (paired bootstrap over users) excludes 0 and a paired permutation
    test gives p < 0.05 after Holm's correction for the number of figures.

    \b
    Example:
      upnext compare 20261120T190746.684Z-7e87aadd98bc 20261120T191422.129Z-88c23765a173 --home shop
    """
    from upnext.training.compare import common_cases, compare
    from upnext.training.comparison_report import ComparisonReport, as_table

    settings = load_settings(home, os.environ, overrides)
    with opened_home(home) as opened:
        one = _answers(opened, first, split, sessions_ending, settings)
        other = _answers(opened, second, split, sessions_ending, settings)
    n_cases = len(common_cases(one, other)[0])
    report = ComparisonReport(
        split=split, seed=seed, first=first, second=second, n_cases=n_cases,
        differences=compare(one, other, seed=seed),
    )  # fmt: skip
    if hand_over(report, json_path):
        console.width = max(console.width, _NARROWEST)
        console.print(as_table(report))


def _answers(opened: Home, release_id: str, split: str, sessions_ending: str, settings: Settings) -> "Answered":
    from upnext.cli.pipeline.evaluation import answer_split, answer_stream, open_subject

    steps = ScreenSteps()
    with steps.step(f"release {release_id}") as progress:
        subject = open_subject(Releases(opened.path).open(release_id), opened.records, opened.event_log, settings)
        if split == "stream":
            return answer_stream(subject, opened.event_log, settings, sessions_ending, progress)
        return answer_split(subject, split, settings, progress)  # type: ignore[arg-type]
