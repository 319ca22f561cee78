"""`upnext release`: what can be served, what is, and changing it."""

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table

from upnext.cli.completing import release_ids
from upnext.cli.group import Group
from upnext.cli.options import STANDARD_OUTPUT, home_option, json_option, release_argument, set_option
from upnext.cli.output import hand_over
from upnext.cli.release_graft import graft_release, release_inputs
from upnext.cli.release_report import made_by, report_release
from upnext.cli.screen import ScreenSteps
from upnext.clock import Deadline, SystemClock
from upnext.errors import ReleaseError
from upnext.features.item_rows_publish import publish, unpublish
from upnext.funnel.live import item_tables
from upnext.release.manifest import Manifest
from upnext.release.releases import Releases
from upnext.settings import load_settings
from upnext.store.opening import open_store


@click.group("release", cls=Group)
def release_command() -> None:
    """List, show, activate and roll back releases. A running server follows by itself, without dropping a request."""


@release_command.command("list")
@home_option
@json_option
def list_releases(home: Path, json_path: Path | None) -> None:
    """All releases, oldest first, the active one marked.

    \b
    Example:
      upnext release list --home shop
    """
    releases = Releases(home)
    rows = [_row(releases.manifest(release_id), releases.active_id()) for release_id in releases.ids()]
    if not hand_over(rows, json_path):
        return
    table = Table("", Column("release", no_wrap=True), "made", "by", "data", "MiB")
    for row in rows:
        made = datetime.fromtimestamp(row["created_ms"] / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        size_mib = f"{row['bytes'] / 2**20:,.1f}"
        active = "●" if row["active"] else ""
        table.add_row(active, row["release"], made, row["made_by"], row["dataset"], size_mib)
    Console().print(table)


def _row(manifest: Manifest, active_id: str | None) -> dict[str, Any]:
    return {
        "release": manifest.id,
        "active": manifest.id == active_id,
        "created_ms": manifest.created_ms,
        "made_by": made_by(manifest),
        "dataset": manifest.dataset,
        "bytes": sum(part.bytes for part in manifest.parts.values()),
    }


@release_command.command("show")
@release_argument
@home_option
@json_option
def show_release(release_id: str | None, home: Path, json_path: Path | None) -> None:
    """The manifest of a release, by default the active one, as JSON.

    \b
    Example:
      upnext release show --home shop
    """
    releases = Releases(home)
    release = releases.open(release_id) if release_id else releases.open_active()
    hand_over(release.manifest, json_path or STANDARD_OUTPUT)


release_command.add_command(report_release)


@release_command.command("activate")
@click.argument("release_id", metavar="RELEASE", shell_complete=release_ids)
@home_option
@json_option
def activate_release(release_id: str, home: Path, json_path: Path | None) -> None:
    """Verify a release and serve it from now on.

    \b
    Example:
      upnext release activate 20261120T190746.684Z-7e87aadd98bc --home shop
    """
    _say_active(Releases(home).activate(release_id).id, json_path)


@release_command.command("rollback")
@home_option
@json_option
def rollback_release(home: Path, json_path: Path | None) -> None:
    """Go back to the release that was active before.

    \b
    Example:
      upnext release rollback --home shop
    """
    _say_active(Releases(home).rollback().id, json_path)


def _say_active(release_id: str, json_path: Path | None) -> None:
    if hand_over({"active": release_id}, json_path):
        click.echo(release_id)


@release_command.command("publish")
@release_argument
@home_option
@json_option
@set_option
@click.option("--again", is_flag=True, help="Write all rows, even those that should be there.")
def publish_release(
    release_id: str | None, home: Path, json_path: Path | None, overrides: tuple[str, ...], again: bool
) -> None:
    """Write the item rows of a release, by default the active one, into the store, for workers that cannot hold them.

    Before the release is activated. An interrupted run goes on where it stopped.

    \b
    Example:
      upnext release publish --home shop --set store.url=redis://127.0.0.1:6379/0
    """
    settings, clock = load_settings(home, os.environ, overrides), SystemClock()
    releases = Releases(home)
    release = releases.open(release_id) if release_id else releases.open_active()
    n_released = len(release.array("catalog.sorted_keys"))
    with closing(open_store(home, settings.store, clock)) as store, ScreenSteps().step("item rows") as progress:
        never = Deadline.never(clock)
        written = publish(release.id, item_tables(release), n_released, store, never, progress, again=again)
    if hand_over({"release": release.id, "written": written, "item_rows": n_released}, json_path):
        click.echo(f"{release.id}: {written:,} of {n_released:,} item rows written")


@release_command.command("unpublish")
@click.argument("release_id", metavar="RELEASE", shell_complete=release_ids)
@home_option
@json_option
@set_option
def unpublish_release(release_id: str, home: Path, json_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Take the item rows of a release that is no longer served out of the store.

    \b
    Example:
      upnext release unpublish 20261120T190746.684Z-7e87aadd98bc --home shop
    """
    settings, clock = load_settings(home, os.environ, overrides), SystemClock()
    if release_id == Releases(home).active_id():
        raise ReleaseError(f"release {release_id} is active, and servers may read its rows; activate another one first")
    with closing(open_store(home, settings.store, clock)) as store, ScreenSteps().step("item rows") as progress:
        deleted = unpublish(release_id, store, Deadline.never(clock), progress)
    if hand_over({"release": release_id, "deleted": deleted}, json_path):
        click.echo(f"{release_id}: {deleted:,} item rows deleted")


release_command.add_command(graft_release)
release_command.add_command(release_inputs)
