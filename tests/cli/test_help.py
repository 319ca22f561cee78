"""Every command explains itself, suggests what was meant, and fails in one line that says what to do."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.conftest import REPOSITORY
from upnext.cli import main as main_module
from upnext.cli.main import cli, main


def commands_of(group: click.Group, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, (*before, name))
        else:
            yield (*before, name), command


COMMANDS = dict(commands_of(cli))
NAMES = [" ".join(words) for words in COMMANDS]


@pytest.mark.parametrize("words", COMMANDS, ids=NAMES)
def test_every_command_has_a_summary_an_example_of_itself_and_meanings_of_its_options(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    shown = CliRunner().invoke(cli, [*words, "--help"], catch_exceptions=False).output
    assert "Example" in shown
    assert f"upnext {' '.join(words)}" in shown.partition("Example")[2]
    assert command.get_short_help_str(limit=1_000).rstrip(".").count(" ") >= 2
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert not [each.name for each in options if not each.help and not isinstance(each.type, click.Choice)]


def test_the_help_lists_every_command_once_with_its_whole_summary() -> None:
    shown = CliRunner().invoke(cli, ["--help"], catch_exceptions=False).output
    words = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line.strip()]
    assert {name: words.count(name) for name in cli.commands} == dict.fromkeys(cli.commands, 1)
    assert "..." not in shown.partition("Commands")[0].partition("See it")[2]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["evaluat"], "'evaluate'"),
        (["release", "lst"], "'list'"),
        (["contracts", "chek"], "'check'"),
        (["serve", "--worker", "x"], "'--workers'"),
    ],
)
def test_what_was_meant_is_suggested(words: list[str], meant: str) -> None:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2
    assert f"Did you mean {meant}" in result.output


def test_the_page_of_the_command_line_tells_of_every_command() -> None:
    page = (REPOSITORY / "docs" / "cli.md").read_text("utf-8")
    assert not [name for name in NAMES if f"upnext {name}" not in page]


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit status of the program with these words."""
    monkeypatch.setattr("sys.argv", ["upnext", *words])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """`upnext settings` raises what is put in here."""
    raised: list[BaseException] = []

    def fail(*_: object) -> None:
        raise raised[0]

    monkeypatch.setattr("upnext.cli.settings_command.load_settings", fail)
    monkeypatch.delenv("UPNEXT_DEBUG", raising=False)
    yield raised
    os.environ.pop("UPNEXT_DEBUG", None)


def test_an_error_of_ours_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, "settings", "--set", "rankin.top=1") == 1
    assert capsys.readouterr().err == "upnext: there are no settings 'rankin'; did you mean 'ranking'?\n"


def test_an_interruption_is_one_line_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(KeyboardInterrupt())
    assert ended(monkeypatch, "settings") == 128 + signal.SIGINT
    assert capsys.readouterr().err.strip() == "upnext: interrupted"


def test_a_reader_that_goes_away_is_no_noise(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(BrokenPipeError(32, "Broken pipe"))
    assert ended(monkeypatch, "settings") in (0, 1)
    assert capfd.readouterr().err == ""


def test_a_fault_says_where_its_traceback_is_and_with_debug_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: list[BaseException], tmp_path: Path
) -> None:
    monkeypatch.setattr(main_module.tempfile, "tempdir", str(tmp_path))
    failing.append(ZeroDivisionError("so it goes"))
    assert ended(monkeypatch, "settings") == 70
    told = capsys.readouterr().err
    [kept] = tmp_path.iterdir()
    assert "ZeroDivisionError: so it goes" in told
    assert str(kept) in told
    assert "Traceback" not in told
    assert kept.read_text().startswith("Traceback")
    assert ended(monkeypatch, "--debug", "settings") == 70
    assert "Traceback" in capsys.readouterr().err
