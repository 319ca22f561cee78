"""`upnext keys`: the key alone on standard output, everything else beside it."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from upnext.cli.keys_command import keys_command, span_ms
from upnext.clock import SystemClock
from upnext.errors import SettingsError
from upnext.serve.keys import Key, Keys

DAY_MS = 86_400_000


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(keys_command, [str(argument) for argument in arguments])


def keys_of(home: Path) -> Keys:
    return Keys(home / "keys.json", SystemClock())


def create(home: Path, *arguments: str) -> tuple[Key, Result]:
    result = run("create", "--home", home, *arguments)
    assert result.exit_code == 0, result.output
    key = keys_of(home).check(result.stdout.strip().encode())
    assert key is not None
    return key, result


def test_the_key_is_all_there_is_on_standard_output_and_opens_what_was_asked(tmp_path: Path) -> None:
    key, result = create(
        tmp_path, "--scope", "recommend", "--scope", "ingest", "--name", "till 7", "--rate", "2.5", "--burst", "9"
    )
    assert re.fullmatch(r"upk_[a-z2-7]{8}_[a-z2-7]{40}\n", result.stdout)
    assert (key.scopes, key.tenant, key.name) == (("ingest", "recommend"), "default", "till 7")
    assert (key.rate_per_s, key.burst, key.expires_ms) == (2.5, 9, None)
    assert f"key {key.id} for tenant default: ingest, recommend; 2.5/s, 9 at once; never expires" in result.stderr
    assert result.stdout.strip() not in result.stderr


def test_a_key_expires_when_asked_to(tmp_path: Path) -> None:
    key, result = create(tmp_path, "--scope", "operate", "--expires", "90d")
    assert key.expires_ms is not None
    assert abs(key.expires_ms - key.created_ms - 90 * DAY_MS) < 60_000
    assert "no limit; expires 2" in result.stderr


def test_the_first_key_says_what_it_changes_and_the_second_does_not(tmp_path: Path) -> None:
    said = [create(tmp_path, "--scope", "ingest")[1].stderr for _ in range(2)]
    assert ["from now on every request needs one" in remarks for remarks in said] == [True, False]


def test_a_tenant_without_a_home_is_remarked_on(tmp_path: Path) -> None:
    key, result = create(tmp_path, "--scope", "ingest", "--tenant", "acme")
    assert key.tenant == "acme"
    assert f"{tmp_path / 'tenants' / 'acme'} holds no release and no log yet" in result.stderr
    (tmp_path / "tenants" / "acme" / "log").mkdir(parents=True)
    assert "holds no release" not in create(tmp_path, "--scope", "ingest", "--tenant", "acme")[1].stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ["--scope", "everything"],
        [],
        ["--scope", "ingest", "--tenant", "../other"],
        ["--scope", "ingest", "--rate", "-1"],
        ["--scope", "ingest", "--burst", "3"],
        ["--scope", "ingest", "--expires", "soon"],
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(tmp_path: Path, wrong: list[str]) -> None:
    result = run("create", "--home", tmp_path, *wrong)
    assert result.exit_code != 0
    assert result.stdout == ""
    assert keys_of(tmp_path).empty


def test_the_list_has_every_key_with_its_state_and_no_secret(tmp_path: Path) -> None:
    assert run("list", "--home", tmp_path).exit_code == 0
    first, made = create(tmp_path, "--scope", "ingest", "--name", "[red]till[/red]", "--rate", "5")
    second, _ = create(tmp_path, "--scope", "operate", "--tenant", "acme")
    run("revoke", "--home", tmp_path, first.id)
    lines = run("list", "--home", tmp_path).stdout.splitlines()
    one, other = (next(line for line in lines if key.id in line) for key in (first, second))
    for word in ("[red]till[/red]", "default", "ingest", "5/s, 5 at once", "revoked since"):
        assert word in one
    for word in ("acme", "operate", "no limit", "never expires"):
        assert word in other
    assert made.stdout.strip()[13:20] not in "".join(lines)


@pytest.mark.parametrize("named_by", ["id", "key"])
def test_a_key_is_revoked_by_its_id_or_by_itself(tmp_path: Path, named_by: str) -> None:
    (key, made), (kept, _) = (create(tmp_path, "--scope", "ingest") for _ in range(2))
    result = run("revoke", "--home", tmp_path, key.id if named_by == "id" else made.stdout.strip())
    assert result.exit_code == 0
    assert f"key {key.id} is revoked since" in result.stderr
    assert {each.id: each.revoked_ms is not None for each in keys_of(tmp_path).listed()} == {
        key.id: True,
        kept.id: False,
    }


def test_revoking_what_is_not_there_is_an_error_that_names_what_is(tmp_path: Path) -> None:
    key, _ = create(tmp_path, "--scope", "ingest")
    result = run("revoke", "--home", tmp_path, "aaaaaaa7")
    assert isinstance(result.exception, SettingsError)
    assert key.id in str(result.exception)


@pytest.mark.parametrize(
    ("text", "span"),
    [("45s", 45_000), ("30m", 1_800_000), ("12h", 43_200_000), ("90d", 90 * DAY_MS), ("2w", 14 * DAY_MS)],
)
def test_spans_of_time_are_read(text: str, span: int) -> None:
    assert span_ms(text) == span


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5h", "90 d", "90D", "1y", "1d\n"])
def test_other_spans_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="as in 90d"):
        span_ms(text)
