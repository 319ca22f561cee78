"""`upnext doctor`: looks at machine, settings, store, log, release, keys, clock and server, and says what to do."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from upnext.cli.asking import key_option
from upnext.cli.doctor.check import Check
from upnext.cli.doctor.examine import examine
from upnext.cli.options import home_option, json_option, set_option
from upnext.cli.output import hand_over
from upnext.cli.screen import ScreenSteps

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
_NARROWEST = 140


@click.command("doctor")
@home_option
@click.option("--url", envvar="UPNEXT_URL", help="Also ask this running server, as in http://127.0.0.1:8080.")
@key_option
@click.option("--quick", is_flag=True, help="Leave out what takes long: all bytes of the release, train.toml.")
@json_option
@set_option
def doctor_command(
    home: Path, url: str | None, key: str | None, quick: bool, json_path: Path | None, overrides: tuple[str, ...]
) -> None:
    """Check machine, settings, store, log, release, keys and clock, and say what to do.

    Changes nothing, and works beside a running server. Exits with 0 when there is no problem (there may be warnings),
    else with 1.

    \b
    Examples:
      upnext doctor --home shop
      upnext doctor --home shop --url http://127.0.0.1:8080 --json
    """
    with ScreenSteps().step("looking") as progress:
        checks = examine(home, url=url, key=key, overrides=overrides, quick=quick, tell=progress)
    if hand_over(checks, json_path):
        Console(width=None if sys.stdout.isatty() else _NARROWEST).print(table_of(checks))
        click.echo(summary_of(checks))
    if any(check.state == "problem" for check in checks):
        sys.exit(1)


def table_of(checks: list[Check]) -> Table:
    """A row a check; groups are set apart."""
    table = Table("", "what", "state", "found", "what to do")
    for before, check in zip([None, *checks], checks, strict=False):
        if before is not None and before.group != check.group:
            table.add_section()
        group = check.group if before is None or before.group != check.group else ""
        table.add_row(
            group, check.name, Text(check.state, style=_STYLES[check.state]), Text(check.found), Text(check.advice)
        )
    return table


def summary_of(checks: list[Check]) -> str:
    """How many of each."""
    counted = {state: sum(check.state == state for check in checks) for state in _STYLES}
    warnings, problems = (f"{counted[state]} {state}{'s' * (counted[state] != 1)}" for state in ("warning", "problem"))
    return f"{counted['ok']} ok, {warnings}, {problems}"
