"""`upnext settings`: every setting in force, with its value."""

import os
from pathlib import Path

import click

from upnext.cli.options import json_option, set_option
from upnext.cli.output import hand_over
from upnext.settings import load_settings, settings_table


@click.command("settings")
@click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), envvar="UPNEXT_HOME", help="Whose upnext.toml to read."
)
@json_option
@set_option
def settings_command(home: Path | None, json_path: Path | None, overrides: tuple[str, ...]) -> None:
    """Print all settings in force: defaults, HOME/upnext.toml, the environment, --set.

    \b
    Example:
      upnext settings --home shop --set ranking.top=50
    """
    settings = load_settings(home, os.environ, overrides)
    if hand_over(settings, json_path):
        for name, value in settings_table(settings):
            click.echo(f"{name} = {value!r}")
