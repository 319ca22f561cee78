"""`upnext release`: what can be served, what is, and changing it."""

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from upnext.cli.options import home_option, set_option
from upnext.cli.screen import ScreenSteps
from upnext.clock import Deadline, SystemClock
from upnext.errors import ReleaseError
from upnext.features.item_rows_publish import publish, unpublish
from upnext.funnel.live import item_tables
from upnext.release.releases import Releases
from upnext.settings import load_settings
from upnext.store.opening import open_store


@click.group("release")
def release_command() -> None:
    """List, show, activate and roll back releases. A running server follows by itself, without dropping a request."""


@release_command.command("list")
@home_option
def list_releases(home: Path) -> None:
    """All releases, oldest first, the active one marked."""
    releases = Releases(home)
    active = releases.active_id()
    table = Table("", "release", "made", "data", "MiB")
    for release_id in releases.ids():
        manifest = releases.manifest(release_id)
        made = datetime.fromtimestamp(manifest.created_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        size_mib = sum(part.bytes for part in manifest.parts.values()) / 2**20
        table.add_row("●" if release_id == active else "", release_id, made, manifest.dataset, f"{size_mib:,.1f}")
    Console().print(table)


@release_command.command("show")
@click.argument("release_id", required=False)
@home_option
def show_release(release_id: str | None, home: Path) -> None:
    """The manifest of a release, by default the active one, as JSON."""
    releases = Releases(home)
    release = releases.open(release_id) if release_id else releases.open_active()
    click.echo(msgspec.json.format(msgspec.json.encode(release.manifest), indent=2).decode())


@release_command.command("activate")
@click.argument("release_id")
@home_option
def activate_release(release_id: str, home: Path) -> None:
    """Verify a release and serve it from now on."""
    click.echo(Releases(home).activate(release_id).id)


@release_command.command("rollback")
@home_option
def rollback_release(home: Path) -> None:
    """Go back to the release that was active before."""
    click.echo(Releases(home).rollback().id)


@release_command.command("publish")
@click.argument("release_id", required=False)
@home_option
@set_option
@click.option("--again", is_flag=True, help="Write all rows, even those that should be there.")
def publish_release(release_id: str | None, home: Path, overrides: tuple[str, ...], again: bool) -> None:
    """Write the item rows of a release, by default the active one, into the store, for workers that cannot hold them.

    Before the release is activated. An interrupted run goes on where it stopped.
    """
    settings, clock = load_settings(home, os.environ, overrides), SystemClock()
    releases = Releases(home)
    release = releases.open(release_id) if release_id else releases.open_active()
    n_released = len(release.array("catalog.sorted_keys"))
    with closing(open_store(home, settings.store, clock)) as store, ScreenSteps().step("item rows") as progress:
        never = Deadline.never(clock)
        written = publish(release.id, item_tables(release), n_released, store, never, progress, again=again)
    click.echo(f"{release.id}: {written:,} of {n_released:,} item rows written")


@release_command.command("unpublish")
@click.argument("release_id")
@home_option
@set_option
def unpublish_release(release_id: str, home: Path, overrides: tuple[str, ...]) -> None:
    """Take the item rows of a release that is no longer served out of the store."""
    settings, clock = load_settings(home, os.environ, overrides), SystemClock()
    if release_id == Releases(home).active_id():
        raise ReleaseError(f"release {release_id} is active, and servers may read its rows; activate another one first")
    with closing(open_store(home, settings.store, clock)) as store, ScreenSteps().step("item rows") as progress:
        deleted = unpublish(release_id, store, Deadline.never(clock), progress)
    click.echo(f"{release_id}: {deleted:,} item rows deleted")
