"""`upnext users`: all that is known of a person, and forgetting them, without a server."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import msgspec

from upnext.cli.home import opened_home
from upnext.cli.options import home_option
from upnext.clock import Deadline, SystemClock
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.served_slates import ServedSlates
from upnext.settings import load_settings
from upnext.state.people import People, document

_clock = SystemClock()


@click.group("users")
def users_command() -> None:
    """Show and forget what is kept of a user. Works beside a running server."""


@users_command.command("show")
@click.argument("user_id")
@home_option
def show_user(user_id: str, home: Path) -> None:
    """All that is known of USER_ID, as JSON: record, states, events, served slates, dead letters."""
    with _people(home) as people:
        known = document(people.known(user_id, Deadline.never(_clock)))
    click.echo(msgspec.json.format(msgspec.json.encode(known), indent=2).decode())


@users_command.command("forget")
@click.argument("user_id")
@home_option
@click.confirmation_option(prompt="This cannot be undone. Forget the user?")
def forget_user(user_id: str, home: Path) -> None:
    """Erase USER_ID from log, states, served slates, dead letters and records; no later training knows of them."""
    with _people(home) as people:
        erased = people.erase(user_id, Deadline.never(_clock))
    click.echo(msgspec.json.encode(erased).decode())


@contextmanager
def _people(home: Path) -> Iterator[People]:
    settings = load_settings(home, os.environ)
    with opened_home(home, settings.store) as opened, ExitStack() as others:
        letters = DeadLetters(home / "deadletters", settings.dead_letters, _clock)
        others.callback(letters.close)
        served = ServedSlates(home / "served", settings.impressions, _clock)
        others.callback(served.close)
        yield People(opened.event_log, opened.store, opened.records, letters, served)
