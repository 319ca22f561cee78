"""`upnext contracts`: the schemas that producers write by, and whether one may follow another."""

from pathlib import Path
from typing import get_args

import click
from rich.console import Console
from rich.table import Table

from upnext.contracts.compatibility import Mode, check
from upnext.contracts.families import REGISTRY
from upnext.contracts.registry import Schema, read_schema
from upnext.errors import DataError


@click.group("contracts")
def contracts_command() -> None:
    """List and show the schemas of events, items and users, and check that a new version may follow an old one."""


@contracts_command.command("list")
def list_contracts() -> None:
    """All schemas, with the fingerprint that Avro messages begin with and the actions that they are for."""
    table = Table("schema", "fingerprint", "actions")
    for schema in REGISTRY.schemas:
        table.add_row(schema.name, schema.fingerprint.hex(), ", ".join(schema.actions))
    Console().print(table)


@contracts_command.command("show")
@click.argument("name", metavar="FAMILY[/VERSION]")
def show_contract(name: str) -> None:
    """A schema as it is in its file, by default the newest version."""
    click.echo(_named(name).text, nl=False)


@contracts_command.command("check")
@click.argument("old")
@click.argument("new")
@click.option("--mode", type=click.Choice(get_args(Mode)), default="full", show_default=True, help="Who reads whom.")
@click.pass_context
def check_contracts(context: click.Context, old: str, new: str, mode: Mode) -> None:
    """Say whether NEW may follow OLD, each a file or FAMILY/VERSION; if not, why, with exit status 1.

    backward: NEW reads what OLD wrote. forward: OLD reads what NEW writes. full: both.
    """
    problems = check(_schema(old).type, _schema(new).type, mode)
    for problem in problems:
        click.echo(str(problem))
    if problems:
        context.exit(1)
    click.echo(f"{new} may follow {old}: {mode} compatible")


def _schema(name: str) -> Schema:
    """A file if there is one of that name, else a schema of the contract."""
    path = Path(name)
    return read_schema(path) if path.is_file() or name.endswith(".avsc") else _named(name)


def _named(name: str) -> Schema:
    family, slash, version = name.partition("/")
    if not slash:
        return REGISTRY.latest(family)
    if not version.isdecimal():
        raise DataError(f"{name!r} names no schema; use FAMILY/VERSION, as in interaction/1, or a file's path")
    return REGISTRY.get(family, int(version))
