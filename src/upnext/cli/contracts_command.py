"""`upnext contracts`: the schemas that producers write by, and whether one may follow another."""

from pathlib import Path
from typing import get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from upnext.cli.group import Group
from upnext.cli.options import json_option
from upnext.cli.output import hand_over
from upnext.contracts.compatibility import Mode, check
from upnext.contracts.families import REGISTRY
from upnext.contracts.registry import Schema, read_schema
from upnext.errors import DataError


@click.group("contracts", cls=Group)
def contracts_command() -> None:
    """List and show the schemas of events, items and users, and check that a new version may follow an old one."""


@contracts_command.command("list")
@json_option
def list_contracts(json_path: Path | None) -> None:
    """All schemas, with the fingerprint that Avro messages begin with and the actions that they are for.

    \b
    Example:
      upnext contracts list
    """
    rows = [
        {"schema": schema.name, "fingerprint": schema.fingerprint.hex(), "actions": list(schema.actions)}
        for schema in REGISTRY.schemas
    ]
    if not hand_over(rows, json_path):
        return
    table = Table("schema", "fingerprint", "actions")
    for schema in REGISTRY.schemas:
        table.add_row(schema.name, schema.fingerprint.hex(), ", ".join(schema.actions))
    Console().print(table)


@contracts_command.command("show")
@click.argument("name", metavar="FAMILY[/VERSION]")
@json_option
def show_contract(name: str, json_path: Path | None) -> None:
    """A schema as it is in its file, which is JSON, by default the newest version.

    \b
    Example:
      upnext contracts show interaction/1 > interaction.avsc
    """
    text = _named(name).text
    if hand_over(msgspec.Raw(text.encode()), json_path):
        click.echo(text, nl=False)


@contracts_command.command("check")
@click.argument("old")
@click.argument("new")
@click.option("--mode", type=click.Choice(get_args(Mode)), default="full", show_default=True, help="Who reads whom.")
@json_option
@click.pass_context
def check_contracts(context: click.Context, old: str, new: str, mode: Mode, json_path: Path | None) -> None:
    """Say whether NEW may follow OLD, each a file or FAMILY/VERSION; if not, why, with exit status 1.

    backward: NEW reads what OLD wrote. forward: OLD reads what NEW writes. full: both.

    \b
    Example:
      upnext contracts check interaction/1 mine.avsc --mode full
    """
    problems = [str(problem) for problem in check(_schema(old).type, _schema(new).type, mode)]
    found = {"old": old, "new": new, "mode": mode, "compatible": not problems, "problems": problems}
    if hand_over(found, json_path):
        for problem in problems:
            click.echo(problem)
        if not problems:
            click.echo(f"{new} may follow {old}: {mode} compatible")
    if problems:
        context.exit(1)


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
