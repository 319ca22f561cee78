"""Options that several commands share."""

from pathlib import Path

import click

home_option = click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), required=True, envvar="UPNEXT_HOME",
    help="The folder that holds everything of one installation.",
)  # fmt: skip
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="GROUP.NAME=VALUE", help="Override one setting; may be repeated."
)
json_option = click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Also write the result to this file."
)
