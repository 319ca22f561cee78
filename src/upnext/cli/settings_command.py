"""`upnext settings`: every setting in force, with its value."""

import os
from pathlib import Path

import click

from upnext.cli.options import set_option
from upnext.settings import load_settings, settings_table


@click.command("settings")
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), envvar="UPNEXT_HOME")
@set_option
def settings_command(home: Path | None, overrides: tuple[str, ...]) -> None:
    """Print all settings in force: defaults, HOME/upnext.toml, the environment, --set."""
    for name, value in settings_table(load_settings(home, os.environ, overrides)):
        click.echo(f"{name} = {value!r}")
