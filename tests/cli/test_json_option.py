"""`--json` is the same everywhere: alone it prints JSON and nothing else, with a file's name it writes the file."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.cli.test_help import COMMANDS, NAMES
from tests.conftest import TrainedHome
from upnext.cli.group import json_alone
from upnext.cli.main import cli
from upnext.cli.output import hand_over
from upnext.errors import DataError

# These have no result: one goes on until it is stopped, one shows the whole job and serves, one prints a script.
WITHOUT = {("serve",), ("demo",), ("completion",)}


def printed(*words: object, status: int = 0) -> Any:
    """What a command prints on standard output, which is one JSON document."""
    result = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("words", COMMANDS, ids=NAMES)
def test_every_command_with_a_result_has_the_option(words: tuple[str, ...]) -> None:
    options = [each for each in COMMANDS[words].params if isinstance(each, click.Option) and "--json" in each.opts]
    assert len(options) == (words not in WITHOUT)
    assert {each.name for each in options} <= {"json_path"}  # the one that all share


@pytest.mark.parametrize(
    ("line", "understood"),
    [
        ("show --json 17", "show --json=- 17"),
        ("show 17 --json", "show 17 --json"),
        ("list --json --home shop", "list --json=- --home shop"),
        ("list --json report.json --home shop", "list --json report.json --home shop"),
        ("list --json - --home shop", "list --json - --home shop"),
        ("list --json /dev/null", "list --json /dev/null"),
        ("list -- --json 17", "list -- --json 17"),
    ],
)
def test_only_a_name_of_a_json_file_is_taken_for_the_file(line: str, understood: str) -> None:
    assert json_alone(line.split()) == understood.split()


def test_a_number_after_the_option_is_what_the_command_works_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dead letter 17"):
        printed("deadletters", "show", "--json", "17", "--home", tmp_path)


def test_a_file_is_replaced_whole_and_the_table_still_shown(tmp_path: Path) -> None:
    file = tmp_path / "schemas.json"
    file.write_text("old")
    result = CliRunner().invoke(cli, ["contracts", "list", "--json", str(file)], catch_exceptions=False)
    assert "fingerprint" in result.stdout
    assert "interaction/1" in {each["schema"] for each in json.loads(file.read_text())}
    assert [each.name for each in tmp_path.iterdir()] == ["schemas.json"]


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent/x\.json cannot be written"):
        hand_over({}, tmp_path / "absent" / "x.json")


def test_commands_over_a_home_print_json_alone(trained_home: TrainedHome, tmp_path: Path) -> None:
    home = trained_home.copy(tmp_path / "home")
    release = trained_home.release_id
    [row] = printed("release", "list", "--home", home, "--json")
    assert (row["release"], row["active"]) == (release, True)
    assert printed("release", "show", "--json", release, "--home", home)["id"] == release
    assert printed("release", "activate", release, "--home", home, "--json") == {"active": release}
    assert printed("settings", "--home", home, "--json")["ranking"]["top"] == 100
    assert printed("deadletters", "stats", "--home", home, "--json")["waiting"] == 0
    assert printed("export", "items", "--home", home, "--to", tmp_path / "items.parquet", "--json")["rows"] == 200
    events = printed("export", "events", "--home", home, "--to", tmp_path / "events.parquet", "--json")
    assert events["rows"] == events["next_after"] == 9_000
    assert printed("evaluate", "--home", home, "--json")["systems"]["funnel"]["n_cases"] > 0
    assert printed("precompute", "--home", home, "--limit", 2, "--json")["done"] is True


def test_a_key_is_made_and_listed_without_its_digest(tmp_path: Path) -> None:
    made = printed("keys", "create", "--home", tmp_path, "--scope", "operate", "--json")
    assert made["token"].startswith(f"upk_{made['id']}_")
    [listed] = printed("keys", "list", "--home", tmp_path, "--json")
    assert (listed["id"], listed["active"]) == (made["id"], True)
    assert "secret_sha256" not in {**made, **listed}
    assert printed("keys", "revoke", made["id"], "--home", tmp_path, "--json")["revoked_ms"] > 0
    assert printed("keys", "list", "--home", tmp_path, "--json")[0]["active"] is False


def test_whether_a_schema_may_follow_is_told_with_the_status(tmp_path: Path) -> None:
    found = printed("contracts", "check", "interaction/1", "interaction/1", "--json")
    assert (found["compatible"], found["problems"]) == (True, [])
    schema = printed("contracts", "show", "interaction", "--json")
    other = tmp_path / "other.avsc"
    field = {"name": "surprise", "type": "int"}
    other.write_text(json.dumps({**schema, "fields": [*schema["fields"], field]}))
    found = printed("contracts", "check", "interaction", other, "--json", status=1)
    assert not found["compatible"]
    assert "surprise" in found["problems"][0]
