"""A shell completes commands, options, releases of the home at hand, and settings with their defaults."""

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from tests.conftest import TrainedHome
from upnext.cli.completion_command import PROGRAM, SHELLS, VARIABLE
from upnext.cli.main import cli


def completed(line: str, incomplete: str = "") -> list[str]:
    """What may stand in the place of `incomplete` behind `line`."""
    words = line.split()
    return [each.value for each in ShellComplete(cli, {}, PROGRAM, VARIABLE).get_completions(words, incomplete)]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_names_the_program_and_asks_it(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell], catch_exceptions=False)
    assert f"{VARIABLE}={shell}_complete" in result.stdout
    assert f"_{PROGRAM}_completion" in result.stdout


def test_an_unknown_shell_is_refused_with_those_there_are() -> None:
    result = CliRunner().invoke(cli, ["completion", "tcsh"])
    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.output


def test_commands_and_options_are_completed() -> None:
    assert completed("", "ev") == ["evaluate"]
    assert completed("release", "ro") == ["rollback"]
    assert "--release" in completed("evaluate", "--re")


def test_releases_are_those_of_the_home_named_before(
    trained_home: TrainedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = trained_home.release_id
    assert completed(f"evaluate --home {trained_home.path} --release") == [release]
    assert completed(f"release activate --home {trained_home.path}", release[:6]) == [release]
    assert completed(f"release activate --home {trained_home.path}", "1999") == []
    assert completed("release activate") == []
    monkeypatch.setenv("UPNEXT_HOME", str(trained_home.path))
    assert completed("release show") == [release]


def test_a_damaged_home_completes_nothing(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "active.json").write_text("{")
    assert completed(f"release show --home {tmp_path}") == []


def test_settings_come_with_their_defaults_and_those_of_training_where_they_belong() -> None:
    assert completed("serve --set", "ranking.t") == ["ranking.top=100"]
    assert "items.tier=release" in completed("serve --set")
    assert any(name.startswith("session.epochs=") for name in completed("train --set", "session."))
    assert not [name for name in completed("train --set") if name.startswith("ranking.")]
