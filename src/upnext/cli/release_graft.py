"""`upnext release graft` and `upnext release inputs`: a model of one's own in the place of a release's."""

from pathlib import Path

import click

from upnext.cli.home import opened_home
from upnext.cli.options import home_option, json_option, release_argument
from upnext.cli.output import hand_over
from upnext.cli.screen import ScreenSteps
from upnext.release.release import Release
from upnext.release.releases import Releases
from upnext.settings import load_settings

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("graft")
@release_argument
@home_option
@click.option("--ranker", type=_file, metavar="FILE.onnx", help="An ONNX graph that ranks: user, item, cross -> score.")
@click.option("--trees", type=_file, metavar="FILE.ubj", help="Boosted trees that rank, as XGBoost saves them.")
@click.option("--exits", default="", metavar="50,150", help="After how many trees the ranker may answer, beside all.")
@click.option("--session-step", type=_file, metavar="FILE.onnx",
              help="An ONNX graph that reads one event: state, item_vector -> new_state, vector.")  # fmt: skip
@click.option("--activate/--no-activate", default=False, show_default=True, help="Serve the new release from now on.")
@json_option
def graft_release(
    release_id: str | None,
    home: Path,
    ranker: Path | None,
    trees: Path | None,
    exits: str,
    session_step: Path | None,
    activate: bool,
    json_path: Path | None,
) -> None:
    """Make a release of another one, by default the active one, with your own ranker or session step in it.

    The files are checked first, and what does not fit is told. docs/bring_your_own.md shows a worked example.

    \b
    Example:
      upnext release graft --home shop --ranker my_ranker.onnx
    """
    from upnext.cli.pipeline.graft import graft

    releases = Releases(home)
    made = graft(
        _release(releases, release_id), releases, ranker=ranker, trees=trees, session_step=session_step,
        exits=_numbers(exits),
    )  # fmt: skip
    if activate:
        releases.activate(made.id)
    if hand_over({"release": made.id, "parent": made.manifest.parent, "active": activate}, json_path):
        click.echo(made.id)


@click.command("inputs")
@release_argument
@home_option
@click.option("--to", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE.npz",
              help="The file to write.")  # fmt: skip
@click.option("--most", type=int, default=20_000, show_default=True, help="Lists at most.")
@json_option
def release_inputs(release_id: str | None, home: Path, path: Path, most: int, json_path: Path | None) -> None:
    """Write what a release's ranker learns from, as arrays, to train a ranker of your own on.

    docs/bring_your_own.md tells what is in the file.

    \b
    Example:
      upnext release inputs --home shop --to inputs.npz
    """
    from upnext.cli.pipeline.outside import write_inputs

    with opened_home(home) as opened:
        n_lists = write_inputs(
            _release(Releases(home), release_id), opened.records, opened.event_log, load_settings(home), path, most,
            ScreenSteps().step,
        )  # fmt: skip
    if hand_over({"file": str(path), "lists": n_lists}, json_path):
        click.echo(f"{path}: {n_lists:,} lists")


def _release(releases: Releases, release_id: str | None) -> Release:
    return releases.open(release_id) if release_id else releases.open_active()


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise click.UsageError(f"--exits is {text!r}; give numbers of trees, as in 50,150") from error
