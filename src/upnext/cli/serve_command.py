"""`upnext serve`: the HTTP server over a home folder."""

import os
from pathlib import Path

import click

from upnext.cli.options import home_option, set_option
from upnext.cli.screen import console
from upnext.clock import SystemClock
from upnext.release.releases import Releases
from upnext.serve.keys import KEYS_FILE, Keys
from upnext.serve.server import run_server
from upnext.settings import load_settings


@click.command("serve")
@home_option
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 8080]")
@click.option("--workers", type=int, help="Worker processes; one per core is right.  [default: 1]")
@set_option
def serve_command(
    home: Path, host: str | None, port: int | None, workers: int | None, overrides: tuple[str, ...]
) -> None:
    """Serve the active release of HOME. /readyz turns green once it is warm.

    Beyond this machine it listens only where there are API keys: see `upnext keys create`.

    \b
    Example:
      upnext serve --home shop --workers 2
      curl -s localhost:8080/v1/recommend -d '{"user_id": "42", "k": 10}'
    """
    given = {"serve.host": host, "serve.port": port, "serve.workers": workers}
    merged = [*overrides, *(f"{name}={value}" for name, value in given.items() if value is not None)]
    settings = load_settings(home, os.environ, merged)
    releases = Releases(home)
    if releases.active_id() is None:
        console.print("no release is active yet: events are taken, slates follow once `upnext train` has made one")
    else:
        releases.open_active()  # fails here, in words, rather than in every worker
    if settings.serve.demo == "on" or (settings.serve.demo == "auto" and Keys(home / KEYS_FILE, SystemClock()).empty):
        shown = settings.serve.host if settings.serve.host not in ("", "0.0.0.0", "::") else "127.0.0.1"
        console.print(f"a storefront to try: http://{shown}:{settings.serve.port}/demo")
    run_server(home, settings)
