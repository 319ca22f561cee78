"""What a shell may complete beside the names of options: releases of a home, settings; never fails."""

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


def release_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the releases of the home named before on the line or by UPNEXT_HOME, the newest first."""
    from upnext.errors import UpnextError
    from upnext.release.releases import Releases

    home = context.params.get("home") or os.environ.get("UPNEXT_HOME")
    if not home:
        return []
    releases = Releases(Path(home))
    try:
        ids, active = releases.ids(), releases.active_id()
    except (UpnextError, OSError):
        return []
    return [
        CompletionItem(name, help="active" if name == active else None)
        for name in reversed(ids)
        if name.startswith(incomplete)
    ]


def setting_assignments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Settings with their defaults, as `ranking.top=100`; for `upnext train` those of the models."""
    return [CompletionItem(text) for text in map(_assignment, _table(context.info_name)) if text.startswith(incomplete)]


def _table(command: str | None) -> list[tuple[str, Any]]:
    from upnext.settings import Settings, settings_table

    if command != "train":
        return settings_table(Settings())
    try:
        from upnext.cli.pipeline.plan import TrainSettings
    except ImportError:  # what learns is not installed
        return []
    return settings_table(TrainSettings())  # type: ignore[arg-type]  # a table of groups too


def _assignment(setting: tuple[str, Any]) -> str:
    name, value = setting
    if isinstance(value, bool):
        return f"{name}={str(value).lower()}"
    return f"{name}={value}" if isinstance(value, int | float | str) else f"{name}="
