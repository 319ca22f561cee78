"""Whether the files of settings can be read and name only settings that there are; knows no setting."""

import os
from collections.abc import Sequence
from pathlib import Path

from upnext.cli.doctor.check import Check, ok, problem
from upnext.errors import SettingsError
from upnext.settings import Settings, load_settings, load_table

_GROUP = "settings"


def check_settings(home: Path, overrides: Sequence[str], *, quick: bool = False) -> tuple[Settings, list[Check]]:
    """The settings in force, or the defaults where they cannot be read, and what there is to say of them.

    `quick`: without those of training, whose names take seconds to import.
    """
    try:
        settings = load_settings(home, os.environ, overrides)
        checks = [ok(_GROUP, "upnext.toml", "read" if (home / "upnext.toml").is_file() else "none: the defaults")]
    except SettingsError as error:
        settings, checks = Settings(), [problem(_GROUP, "upnext.toml", str(error), _mend(home / "upnext.toml"))]
    if not quick and (home / "train.toml").is_file():
        checks += _of_training(home / "train.toml")
    return settings, checks


def _of_training(path: Path) -> list[Check]:
    try:
        from upnext.cli.pipeline.plan import TrainSettings

        load_table(TrainSettings, path)
    except ImportError:  # what learns is not installed here, so nobody reads the file here
        return []
    except SettingsError as error:
        return [problem(_GROUP, "train.toml", str(error), _mend(path))]
    return [ok(_GROUP, "train.toml", "read")]


def _mend(path: Path) -> str:
    return f"mend {path}, the environment (UPNEXT_…) or --set; upnext settings lists all names"
