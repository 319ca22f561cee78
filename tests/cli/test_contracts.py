"""The command that lists, shows and checks schemas."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from upnext.cli.contracts_command import contracts_command
from upnext.contracts.families import REGISTRY
from upnext.errors import DataError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(contracts_command, arguments)


def with_field(folder: Path, **field: object) -> str:
    schema = json.loads(REGISTRY.latest("interaction").text)
    schema["fields"].append(field)
    path = folder / "new.avsc"
    path.write_text(json.dumps(schema))
    return str(path)


def test_the_list_names_every_schema_with_its_fingerprint() -> None:
    listed = run("list")
    assert listed.exit_code == 0
    for schema in REGISTRY.schemas:
        assert schema.name in listed.output
        assert schema.fingerprint.hex() in listed.output


@pytest.mark.parametrize("name", ["item", "item/1"])
def test_a_schema_is_shown_as_it_is_in_its_file(name: str) -> None:
    assert run("show", name).output == REGISTRY.latest("item").text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("show", "clicks"), "no schema family 'clicks'"),
        (("show", "item/7"), "no schema item/7"),
        (("show", "item/x"), "names no schema"),
        (("check", "item/1", "missing.avsc"), "missing.avsc cannot be read"),
    ],
)
def test_what_is_not_there_is_named(arguments: tuple[str, ...], complaint: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert isinstance(result.exception, DataError)
    assert complaint in str(result.exception)


@pytest.mark.parametrize("mode", ["backward", "forward", "full"])
def test_a_field_with_a_default_may_be_added(tmp_path: Path, mode: str) -> None:
    new = with_field(tmp_path, name="surface", type=["null", "string"], default=None)
    result = run("check", "interaction/1", new, "--mode", mode)
    assert result.exit_code == 0
    assert result.output == f"{new} may follow interaction/1: {mode} compatible\n"


def test_a_field_without_one_may_not_and_the_exit_status_says_so(tmp_path: Path) -> None:
    new = with_field(tmp_path, name="surface", type="string")
    result = run("check", "interaction/1", new)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "$.surface: new needs this field, and old does not have it; give it a default in new"
    ]
    assert run("check", "interaction/1", new, "--mode", "forward").exit_code == 0


def test_a_mode_that_does_not_exist_is_a_wrong_use() -> None:
    assert run("check", "item/1", "item/1", "--mode", "sideways").exit_code == 2
