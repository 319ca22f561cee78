"""`upnext release`: what can be served, what is, and changing it."""

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from upnext.cli.options import home_option
from upnext.release.releases import Releases


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
