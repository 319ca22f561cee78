"""Options that several commands share."""

from pathlib import Path

import click

from upnext.cli.completing import release_ids, setting_assignments

STANDARD_OUTPUT = Path("-")

home_option = click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), required=True, envvar="UPNEXT_HOME",
    help="The folder that holds everything of one installation.",
)  # fmt: skip
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="GROUP.NAME=VALUE", shell_complete=setting_assignments,
    help="Override one setting; may be repeated.",
)  # fmt: skip
json_option = click.option(
    "--json", "json_path", is_flag=False, flag_value=str(STANDARD_OUTPUT), metavar="[FILE.json]",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Alone: print JSON, and nothing else, on standard output. With a file's name: write it there too.",
)  # fmt: skip
release_argument = click.argument("release_id", required=False, metavar="[RELEASE]", shell_complete=release_ids)
