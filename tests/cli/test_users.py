"""A person's rights from the command line, over a home that no server runs on."""

import json
from pathlib import Path

from click.testing import CliRunner

from tests.conftest import TrainedHome
from upnext.cli.main import cli
from upnext.ingest.lmdb_log import LmdbEventLog


def run(*words: str, **more: str) -> dict[str, object]:
    result = CliRunner().invoke(cli, ["users", *words], catch_exceptions=False, **more)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.output[result.output.index("{") :]))


def test_a_user_is_shown_then_forgotten_then_unknown_and_nobody_else(trained_home: TrainedHome, tmp_path: Path) -> None:
    home = trained_home.copy(tmp_path / "home")
    log = LmdbEventLog(home / "log")
    users = [event.user_id for _, event in log.scan()]
    user, other = users[-1], next(name for name in users if name != users[-1])
    n_events, n_others = users.count(user), users.count(other)
    assert user is not None
    assert other is not None
    shown = run("show", user, "--home", str(home))
    assert len(shown["events"]) == n_events
    assert shown["states"][0]["state_version"] == n_events
    assert shown["record"]["user_id"] == user
    erased = run("forget", user, "--home", str(home), "--yes")
    assert (erased["events"], erased["record"]) == (n_events, True)
    assert not any(run("show", user, "--home", str(home))[name] for name in ("events", "states", "record"))
    assert len(run("show", other, "--home", str(home))["events"]) == n_others
    log.close()


def test_forgetting_asks_first(trained_home: TrainedHome, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["users", "forget", "u", "--home", str(tmp_path / "home")], input="n\n")
    assert result.exit_code == 1
    assert not (tmp_path / "home").exists()
