"""`upnext deadletters` shows what was refused and puts the mended into the log, once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from upnext.cli.deadletters_command import deadletters_command
from upnext.clock import SystemClock
from upnext.contracts.gate import GATE_VERSION, admit_events, admit_items
from upnext.domain.event import Event
from upnext.errors import DataError, SettingsError
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import DeadLetter, Totals
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.records import Records
from upnext.settings import DeadLetterSettings

CAME_MS = SystemClock().now_ms() - 60_000
GOOD = b'{"action": "click", "user_id": "ann", "item_id": "i1"}'
UNKNOWN = b'{"action": "clik",  "user_id": "ann", "item_id": "i1", "producer": "web"}'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run(*arguments: object, home: Path) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(deadletters_command, [*words, "--home", str(home)], env={"COLUMNS": "200"})


def told(*arguments: object, home: Path, status: int = 0) -> Any:
    """What the command says as JSON."""
    result = run(*arguments, "--json", home=home)
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def keep(home: Path, *letters: DeadLetter) -> None:
    queue = DeadLetters(home / "deadletters", DeadLetterSettings(), SystemClock())
    queue.append(letters)
    queue.close()


def letter(raw: bytes, **fields: Any) -> DeadLetter:
    given = {"content_type": "application/json", "reason": "unknown_action", "received_ms": CAME_MS, "gate": "old"}
    return DeadLetter(raw=raw, **{**given, **fields})


def logged(home: Path) -> list[Event]:
    log = LmdbEventLog(home / "log")
    events = [event for _, event in log.scan()]
    log.close()
    return events


@pytest.fixture
def refused(home: Path) -> Iterator[DeadLetter]:
    """A letter as the gate itself refuses it, number 1 in the home."""
    part = admit_events(UNKNOWN, "application/json", now_ms=CAME_MS).refused[0]
    made = letter(
        part.raw, reason=part.error.reason, path=part.error.path, message=str(part.error), schema=part.schema,
        producer=part.producer, gate=GATE_VERSION,
    )  # fmt: skip
    keep(home, made)
    return made


def test_the_list_tells_what_is_wrong_with_what(home: Path, refused: DeadLetter) -> None:
    keep(home, letter(b"{}", reason="missing_item", kind="item", producer="feed"))
    result = run("list", home=home)
    assert result.exit_code == 0
    assert "unknown_action" in result.stdout
    assert "'clik' is unknown" in result.stdout
    assert "2 shown, 2 waiting in all" in result.stdout
    assert [row["number"] for row in told("list", home=home)] == [1, 2]
    assert [row["number"] for row in told("list", "--reason", "missing_item", home=home)] == [2]
    assert [row["number"] for row in told("list", "--producer", "web", home=home)] == [1]
    assert [row["number"] for row in told("list", "--kind", "item", home=home)] == [2]
    assert [row["number"] for row in told("list", "--limit", "1", home=home)] == [1]
    assert [row["number"] for row in told("list", "--after", "1", home=home)] == [2]


def test_what_a_producer_wrote_cannot_steer_the_terminal_or_the_tables(home: Path) -> None:
    keep(home, letter(b'{"x":"\x1b[31m[/red]"}', message="\x1b]0;title\x07 [bold]not markup[/nothing]", producer="[/]"))
    for command in (["list"], ["show", "1"], ["stats"]):
        result = run(*command, home=home)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
        assert "\x07" not in result.stdout
    assert "[bold]not markup[/nothing]" in run("list", home=home).stdout


def test_a_letter_is_shown_with_its_bytes_and_raw_as_they_came(home: Path, refused: DeadLetter) -> None:
    binary = bytes(range(256)) + b"\r\n"
    keep(home, letter(binary, content_type="avro/binary"))
    shown = run("show", "1", home=home)
    assert UNKNOWN.decode() in shown.stdout
    assert "$.action" in shown.stdout
    assert run("show", "2", "--raw", home=home).stdout_bytes == binary
    assert run("show", "1", "--raw", home=home).stdout_bytes == UNKNOWN
    assert told("show", "1", home=home)["text"] == UNKNOWN.decode()
    assert run("show", "2", home=home).exit_code == 0


def test_a_letter_mended_by_hand_is_in_the_log_once(home: Path, refused: DeadLetter, tmp_path: Path) -> None:
    fixed = tmp_path / "event.json"
    fixed.write_bytes(run("show", "1", "--raw", home=home).stdout_bytes.replace(b"clik", b"click"))
    result = run("replay", "1", "--with", fixed, home=home)
    assert result.exit_code == 0, result.output
    assert "1 replayed (1 records written" in result.stdout
    (event,) = logged(home)
    assert (event.action, event.user_id, event.timestamp_ms, event.producer) == ("click", "ann", CAME_MS, "web")
    again = run("replay", "1", "--with", fixed, home=home)
    assert again.exit_code == 0
    assert "not in the queue (any more): 1" in again.stdout
    assert logged(home) == [event]
    assert told("list", home=home) == []


def test_a_letter_may_be_mended_in_another_format(home: Path, tmp_path: Path) -> None:
    keep(home, letter(b"\x0a\x03ann", content_type="application/x-protobuf"))
    fixed = tmp_path / "event.json"
    fixed.write_bytes(GOOD)
    assert run("replay", "1", "--with", fixed, home=home).exit_code == 1
    assert run("replay", "1", "--with", fixed, "--content-type", "application/json", home=home).exit_code == 0
    assert [event.user_id for event in logged(home)] == ["ann"]


def test_what_stays_refused_stays_in_the_queue_and_is_exit_status_1(
    home: Path, refused: DeadLetter, tmp_path: Path
) -> None:
    keep(home, letter(GOOD))
    report = told("replay", "--all", home=home, status=1)
    assert (report["replayed"], report["still_refused"], report["by_reason"]) == (1, 1, {"unknown_action": 1})
    assert [row["number"] for row in told("list", home=home)] == [1]
    assert len(logged(home)) == 1
    bad = tmp_path / "bad.json"
    bad.write_text('{"action": "click"}')
    assert run("replay", "1", "--with", bad, home=home).exit_code == 1
    assert told("show", "1", home=home)["text"] == UNKNOWN.decode()
    assert "unknown_action" in run("replay", "1", home=home).stdout


def test_after_an_upgrade_only_what_the_older_gate_refused_is_tried(home: Path, refused: DeadLetter) -> None:
    keep(home, letter(GOOD), letter(UNKNOWN))
    report = told("replay", "--after-upgrade", home=home, status=1)
    assert (report["replayed"], report["still_refused"]) == (1, 1)
    assert {row["gate"] for row in told("list", home=home)} == {GATE_VERSION}
    assert told("replay", "--after-upgrade", home=home) == {
        "replayed": 0, "records": 0, "duplicates": 0, "withheld": 0, "still_refused": 0, "by_reason": {}, "missing": [],
    }  # fmt: skip


def test_letters_are_chosen_by_number_reason_producer_and_kind(home: Path) -> None:
    keep(home, *(letter(GOOD, producer=name, reason=name) for name in "abcde"))
    assert told("replay", "2", "9", home=home)["missing"] == [9]
    assert told("replay", "--reason", "a", home=home)["replayed"] == 1
    assert told("replay", "--producer", "c", home=home)["replayed"] == 1
    assert told("replay", "--kind", "item", home=home)["replayed"] == 0
    assert [row["number"] for row in told("list", home=home)] == [4, 5]
    assert len({event.event_id for event in logged(home)}) == 3


def test_items_and_users_go_to_the_records_and_a_tenant_keeps_to_itself(home: Path) -> None:
    tenant = home / "tenants" / "bank"
    tenant.mkdir(parents=True)
    mine, other = b'{"item_id":"i1","title":"Mug","tenant":"bank"}', b'{"item_id":"i2","tenant":"shop"}'
    assert admit_items(mine, "application/json", tenant="bank").records
    keep(tenant, letter(mine, kind="item"), letter(other, kind="item"), letter(b'{"user_id":"u1"}', kind="user"))
    keep(tenant, letter(GOOD))
    report = told("replay", "--all", home=tenant, status=1)
    assert (report["replayed"], report["records"], report["still_refused"]) == (3, 3, 1)
    records = Records(tenant / "records")
    assert [item.title for item in records.items()] == ["Mug"]
    assert [user.user_id for user in records.users()] == ["u1"]
    records.close()
    assert [event.tenant for event in logged(tenant)] == ["bank"]


def test_the_stats_count_what_waits_and_what_became_of_the_rest(home: Path, refused: DeadLetter) -> None:
    keep(home, letter(GOOD), letter(UNKNOWN, reason="other"), letter(b""))
    run("replay", "2", home=home)
    result = run("stats", home=home)
    assert result.exit_code == 0
    assert "unknown_action" in result.stdout
    totals = told("stats", home=home)
    assert set(totals) == set(Totals.__struct_fields__)
    assert (totals["waiting"], totals["replayed"], totals["withheld"]) == (2, 1, 1)
    assert totals["by_reason"] == {"unknown_action": 1, "other": 1}


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["replay"], "nothing is chosen"),
        (["replay", "--with", "FILE"], "exactly one NUMBER"),
        (["replay", "1", "2", "--with", "FILE"], "exactly one NUMBER"),
        (["replay", "1", "--reason", "x", "--with", "FILE"], "exactly one NUMBER"),
        (["replay", "1", "--all"], "leave it out"),
        (["replay", "--all", "--reason", "x"], "leave it out"),
        (["replay", "1", "--content-type", "x"], "--with FILE too"),
        (["list", "--kind", "cat"], "'event', 'item', 'user'"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_before_anything_is_done(
    home: Path, tmp_path: Path, arguments: list[str], advice: str
) -> None:
    keep(home, letter(GOOD), letter(GOOD))
    (tmp_path / "fixed").write_bytes(GOOD)
    words = [str(tmp_path / "fixed") if word == "FILE" else word for word in arguments]
    result = run(*words, home=home)
    assert result.exit_code == 2
    assert advice in result.output
    assert not (home / "log").exists()


def test_a_missing_letter_or_home_is_an_error_that_says_what_to_do(home: Path, tmp_path: Path) -> None:
    result = run("show", "7", home=home)
    assert isinstance(result.exception, DataError)
    assert "no dead letter 7" in str(result.exception)
    nowhere = tmp_path / "nowhere"
    assert isinstance(run("list", home=nowhere).exception, DataError)
    assert not nowhere.exists()
    (home / "upnext.toml").write_text("[dead_letters]\nmax_byte = 1\n")
    assert isinstance(run("list", home=home).exception, SettingsError)
