"""The command line: one group, a command per file, and how failures look."""

import logging
import sys

import click

from upnext import __version__
from upnext.cli.bench_command import bench_command
from upnext.cli.contracts_command import contracts_command
from upnext.cli.deadletters_command import deadletters_command
from upnext.cli.demo_command import demo_command
from upnext.cli.evaluate_command import evaluate_command
from upnext.cli.export_command import export_command
from upnext.cli.export_impressions import export_impressions
from upnext.cli.import_command import import_command
from upnext.cli.keys_command import keys_command
from upnext.cli.precompute_command import precompute_command
from upnext.cli.release_command import release_command
from upnext.cli.serve_command import serve_command
from upnext.cli.settings_command import settings_command
from upnext.cli.train_command import train_command
from upnext.cli.users_command import users_command
from upnext.errors import UpnextError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def cli() -> None:
    """Real-time personalization: events in, models trained, compressed, released, served inside a hard deadline."""


for command in (
    import_command,
    train_command,
    evaluate_command,
    release_command,
    serve_command,
    precompute_command,
    bench_command,
    contracts_command,
    deadletters_command,
    users_command,
    keys_command,
    export_command,
    settings_command,
    demo_command,
):
    cli.add_command(command)


export_command.add_command(export_impressions)


def main() -> None:
    """Runs a command; an error of ours is one line on standard error and exit status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        cli()
    except UpnextError as error:
        click.echo(f"upnext: {error}", err=True)
        sys.exit(1)
