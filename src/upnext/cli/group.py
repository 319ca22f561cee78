"""A group of commands as people like it: whole summaries, sections, `--json` alone or with a file; knows no command."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

_JSON, _JSON_ALONE = "--json", "--json=-"


class Group(click.Group):
    """Lists its commands by section, in the order of the sections, each with its first sentence in full."""

    group_class = type  # groups made by its decorator are of this class too

    def __init__(self, *arguments: Any, sections: Mapping[str, Sequence[str]] | None = None, **more: Any) -> None:
        """`sections`: title and names of commands; those in none come last."""
        super().__init__(*arguments, **more)
        self.sections = dict(sections or {})

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        told = {name for names in self.sections.values() for name in names}
        others = [name for name in self.list_commands(context) if name not in told]
        for title, names in {**self.sections, "Commands": others}.items():
            rows = [(name, _summary(self.commands[name])) for name in names if name in self.commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(context, json_alone(args))


def json_alone(words: Sequence[str]) -> list[str]:
    """The words of a command line, with every `--json` that no file follows marked as such.

    What follows is its file only where it ends in .json or lies in /dev: in `deadletters show --json 17` the number is
    what to show.
    """
    marked = list(words)
    end = marked.index("--") if "--" in marked else len(marked)
    for place in range(end - 1):
        follows = marked[place + 1]
        if marked[place] == _JSON and not (follows == "-" or follows.endswith(".json") or follows.startswith("/dev/")):
            marked[place] = _JSON_ALONE
    return marked


def _summary(command: click.Command) -> str:
    return command.get_short_help_str(limit=1_000)
