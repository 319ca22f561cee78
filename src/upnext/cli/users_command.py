"""`upnext users`: all that is known of a person, and forgetting them, without a server."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from upnext.cli.group import Group
from upnext.cli.home import opened_home
from upnext.cli.options import STANDARD_OUTPUT, home_option, json_option
from upnext.cli.output import hand_over
from upnext.cli.screen import ScreenSteps
from upnext.clock import Deadline, SystemClock
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.served_slates import ServedSlates
from upnext.settings import load_settings
from upnext.state.people import People, document

_clock = SystemClock()


@click.group("users", cls=Group)
def users_command() -> None:
    """Show and forget what is kept of a user. Works beside a running server."""


@users_command.command("show")
@click.argument("user_id")
@home_option
@json_option
def show_user(user_id: str, home: Path, json_path: Path | None) -> None:
    """All that is known of USER_ID, as JSON: record, states, events, served slates, dead letters.

    \b
    Example:
      upnext users show 42 --home shop
    """
    with _people(home) as people:
        known = document(people.known(user_id, Deadline.never(_clock)))
    hand_over(known, json_path or STANDARD_OUTPUT)


@users_command.command("forget")
@click.argument("user_id")
@home_option
@json_option
@click.confirmation_option(prompt="This cannot be undone. Forget the user?")
def forget_user(user_id: str, home: Path, json_path: Path | None) -> None:
    """Erase USER_ID from log, states, served slates, dead letters and records; no later training knows of them.

    Prints how much there was, as JSON.

    \b
    Example:
      upnext users forget 42 --home shop
    """
    with _people(home) as people, ScreenSteps().step("forgetting"):
        erased = people.erase(user_id, Deadline.never(_clock))
    hand_over(erased, json_path or STANDARD_OUTPUT)


@contextmanager
def _people(home: Path) -> Iterator[People]:
    settings = load_settings(home, os.environ)
    with opened_home(home, settings.store) as opened, ExitStack() as others:
        letters = DeadLetters(home / "deadletters", settings.dead_letters, _clock)
        others.callback(letters.close)
        served = ServedSlates(home / "served", settings.impressions, _clock)
        others.callback(served.close)
        yield People(opened.event_log, opened.store, opened.records, letters, served)
