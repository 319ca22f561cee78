"""Replaying dead letters: what passes is in the log once, what does not stays and says why, killed or not."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.ingest.dead_lettering import NOW_MS, admit, doors, letter, queue
from upnext.contracts.gate import Admitted
from upnext.domain.event import Event
from upnext.errors import DataError, StoreError
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import Selection
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.replay import Door, ReplayReport, replay, replay_with

REPOSITORY = Path(__file__).resolve().parents[2]
CAME_MS = NOW_MS - 1_000  # when the letters of these tests were received
ALL = Selection()


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[DeadLetters]:
    opened = queue(tmp_path / "deadletters")
    yield opened
    opened.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LmdbEventLog]:
    opened = LmdbEventLog(tmp_path / "log", map_size_bytes=256 * 1024)
    yield opened
    opened.close()


def run(letters: DeadLetters, log: LmdbEventLog, selection: Selection = ALL, gate: str = "2") -> ReplayReport:
    return replay(letters, selection, doors(log.append), now_ms=NOW_MS, gate=gate)


def fix(letters: DeadLetters, log: LmdbEventLog, number: int, fixed: bytes, **more: Any) -> ReplayReport:
    return replay_with(letters, number, fixed, doors(log.append), now_ms=NOW_MS, gate="2", **more)


def logged(log: LmdbEventLog) -> list[tuple[str | None, int]]:
    return [(event.item_id, event.timestamp_ms) for _, event in log.scan()]


def test_what_passes_now_is_in_the_log_and_no_longer_in_the_queue(letters: DeadLetters, log: LmdbEventLog) -> None:
    letters.append([letter(b'{"item":"a","id":"1","at":5}'), letter(b'{"item":"b"}')])
    assert run(letters, log) == ReplayReport(replayed=2, records=2)
    assert logged(log) == [("a", 5), ("b", CAME_MS)]  # without a timestamp: when it was received
    assert [event.event_id for _, event in log.scan()] == ["1", f"{letters.id}-2-0"]
    assert (letters.totals().waiting, letters.totals().replayed) == (0, 2)


def test_what_is_refused_again_stays_unchanged_but_for_why(letters: DeadLetters, log: LmdbEventLog) -> None:
    raw = b'{"bad": "empty_id"}'
    letters.append([letter(raw, reason="unknown_action", schema="event:1", producer="app", message="before")])
    assert run(letters, log, gate="3") == ReplayReport(still_refused=1, by_reason={"empty_id": 1})
    left = letters.get(1)
    assert left == letter(
        raw, number=1, reason="empty_id", path="$.bad", message="$.bad is empty_id",
        schema="event:2", producer="web", gate="3",
    )  # fmt: skip
    assert letters.totals().by_reason == {"empty_id": 1}
    assert (letters.totals().replayed, log.last()) == (0, 0)


def test_what_the_gate_cannot_tell_of_a_refused_letter_is_kept_from_before(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    letters.append([letter(b"{", schema="event:1", producer="app")])
    run(letters, log)
    left = letters.page()[0]
    assert (left.reason, left.schema, left.producer) == ("malformed_json", "event:1", "app")


def test_a_record_known_to_the_log_already_is_a_duplicate_and_leaves_the_queue(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    log.append([Event(event_id="1", action="click", timestamp_ms=5, user_id="ann")])
    letters.append([letter(b'{"item":"a","id":"1"}'), letter(b'{"item":"b","id":"2"}'), letter(b'{"id":"2"}')])
    assert run(letters, log) == ReplayReport(replayed=3, records=1, duplicates=2)
    assert letters.totals().waiting == 0


def test_only_the_letters_chosen_are_tried(letters: DeadLetters, log: LmdbEventLog) -> None:
    letters.append(
        [
            letter(b'{"item":"a"}', reason="x"),
            letter(b'{"item":"b"}', producer="web"),
            letter(b'{"item":"c"}', gate="2"),
            letter(b'{"item":"d"}', kind="item"),
            letter(b'{"item":"e"}'),
        ]
    )
    assert run(letters, log, Selection(reason="x")).replayed == 1
    assert run(letters, log, Selection(producer="web")).replayed == 1
    assert run(letters, log, Selection(kind="item")).replayed == 1
    assert (
        run(letters, log, Selection(after_upgrade=True)).replayed == 1
    )  # after an upgrade to 2: not what 2 refused itself
    assert [item for item, _ in logged(log)] == ["a", "b", "d", "e"]
    report = run(letters, log, Selection(numbers=[9, 3, 1, 3]))
    assert (report.replayed, report.missing) == (1, [1, 9])
    assert [item for item, _ in logged(log)] == ["a", "b", "d", "e", "c"]


def test_each_kind_goes_through_its_own_door(letters: DeadLetters) -> None:
    written: dict[str, list[Any]] = {"event": [], "item": [], "user": []}

    def door(kind: str) -> Door:
        def admit_kind(body: bytes, content_type: str, **_: object) -> Admitted[Any]:
            return Admitted([(kind, body, content_type)], [])

        def write(records: Sequence[Any]) -> list[int]:
            written[kind] += records
            return [1] * len(records)

        return Door(admit_kind, write)

    letters.append([letter(b"a", kind="user"), letter(b"b", kind="item", content_type="avro/binary"), letter(b"c")])
    report = replay(letters, ALL, {kind: door(kind) for kind in written}, now_ms=NOW_MS, gate="2")
    assert (report.replayed, report.records) == (3, 3)
    assert written == {
        "event": [("event", b"c", "application/json")],
        "item": [("item", b"b", "avro/binary")],
        "user": [("user", b"a", "application/json")],
    }


def test_of_a_letter_with_several_records_the_refused_ones_become_letters_of_their_own(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    body = b'[{"item":"a"}, {"bad":"x","n":1}, {"item":"c"}, {"bad":"y"}]'
    letters.append([letter(body), letter(b'{"item":"d"}')])
    assert run(letters, log) == ReplayReport(replayed=2, records=3, still_refused=2, by_reason={"x": 1, "y": 1})
    assert [(event.item_id, event.event_id[len(letters.id) :]) for _, event in log.scan()] == [
        ("a", "-1-0"), ("c", "-1-2"), ("d", "-2-0"),
    ]  # fmt: skip
    assert [(each.number, each.raw) for each in letters.page()] == [(3, b'{"bad":"x","n":1}'), (4, b'{"bad":"y"}')]
    assert {each.received_ms for each in letters.page()} == {CAME_MS}


def test_a_letter_of_which_no_record_passes_stays_whole(letters: DeadLetters, log: LmdbEventLog) -> None:
    letters.append([letter(b'[{"bad":"x"}, {"bad":"y"}]')])
    assert run(letters, log) == ReplayReport(still_refused=1, by_reason={"x": 1})
    assert [(each.number, each.raw) for each in letters.page()] == [(1, b'[{"bad":"x"}, {"bad":"y"}]')]


@pytest.mark.parametrize("how", ["counted", "refused"])
def test_a_letter_that_turns_out_to_lack_consent_is_not_kept_any_longer(
    letters: DeadLetters, log: LmdbEventLog, how: str
) -> None:
    no_consent = b'{"no":"%b"}' % how.encode()
    letters.append([letter(no_consent), letter(b"[%b,%b]" % (no_consent, b'{"bad":"x"}'))])
    report = run(letters, log)
    assert (report.replayed, report.withheld, report.records, report.still_refused) == (2, 2, 0, 1)
    assert [each.raw for each in letters.page()] == [b'{"bad":"x"}']
    assert log.last() == 0


def test_what_lay_in_the_future_when_it_came_passes_once_that_is_past(letters: DeadLetters, log: LmdbEventLog) -> None:
    early, later = b'{"at":%d}' % NOW_MS, b'{"at":%d}' % (NOW_MS + 1)
    letters.append([letter(early), letter(later), letter(b'[{"item":"a"},%b,{"item":"c"}]' % early)])
    report = run(letters, log)
    assert (report.replayed, report.by_reason) == (2, {"timestamp_in_future": 1})
    assert logged(log) == [(None, NOW_MS), ("a", CAME_MS), (None, NOW_MS), ("c", CAME_MS)]
    assert [event.event_id[len(letters.id) :] for _, event in log.scan()] == ["-1-0", "-3-0", "-3-1", "-3-2"]


def test_a_replay_that_fails_to_write_leaves_the_letters_and_the_next_one_adds_nothing_twice(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    letters.append([letter(b'[{"item":"a"},{"item":"b"},{"bad":"x"}]'), letter(b'{"item":"c"}')])

    def append_and_fail(events: Sequence[Event]) -> list[int | None]:
        log.append(events)
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="full"):
        replay(letters, ALL, doors(append_and_fail), now_ms=NOW_MS, gate="2")
    assert (letters.totals().waiting, log.last()) == (2, 3)
    assert run(letters, log) == ReplayReport(replayed=2, duplicates=3, still_refused=1, by_reason={"x": 1})
    assert (letters.totals().waiting, log.last()) == (1, 3)


def test_a_replay_killed_between_log_and_queue_adds_nothing_twice_when_it_is_run_again(tmp_path: Path) -> None:
    letters = queue(tmp_path / "deadletters")
    raws = [b'{"item":"a"}', b'{"item":"b","id":"given"}', b'[{"item":"c"},{"item":"c"}]', b'{"bad":"x"}']
    letters.append([letter(raw) for raw in raws])
    letters.close()
    command = [sys.executable, "-m", "tests.ingest.dead_letters_worker", "replay"]
    paths = [str(tmp_path / "deadletters"), str(tmp_path / "log")]
    for _ in range(2):
        assert subprocess.run([*command, *paths], cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    letters, log = queue(tmp_path / "deadletters"), LmdbEventLog(tmp_path / "log")
    assert (letters.totals().waiting, log.last()) == (4, 4)  # killed: written, and not yet taken out
    assert run(letters, log) == ReplayReport(replayed=3, duplicates=4, still_refused=1, by_reason={"x": 1})
    assert [item for item, _ in logged(log)] == ["a", "b", "c", "c"]
    assert letters.totals().waiting == 1
    letters.close()
    log.close()


def test_another_version_of_the_gate_gives_the_records_of_a_killed_replay_the_same_ids(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    letters.append([letter(b'[{"bad":"x","item":"a"},{"item":"b"}]')])

    def append_and_fail(events: Sequence[Event]) -> list[int | None]:
        log.append(events)
        raise StoreError("killed")

    with pytest.raises(StoreError):
        replay(letters, ALL, doors(append_and_fail), now_ms=NOW_MS, gate="2")

    def milder(body: bytes, content_type: str, **more: Any) -> Admitted[Any]:
        return admit(body.replace(b'"bad"', b'"was"'), content_type, **more)

    report = replay(letters, ALL, {"event": Door(milder, log.append)}, now_ms=NOW_MS, gate="3")
    assert (report.replayed, report.records, report.duplicates) == (1, 1, 1)
    assert sorted(item or "" for item, _ in logged(log)) == ["a", "b"]


def test_two_replays_of_the_same_letters_at_once_count_and_write_each_once(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    letters.append([letter(b'{"item":"a"}'), letter(b'[{"item":"b"},{"bad":"x"}]')])
    inner: list[ReplayReport] = []

    def append_after_another_replay(events: Sequence[Event]) -> list[int | None]:
        inner.append(run(letters, log))
        return log.append(events)

    outer = replay(letters, ALL, doors(append_after_another_replay), now_ms=NOW_MS, gate="2")
    assert (inner[0].replayed, inner[0].records, outer.replayed, outer.records, outer.duplicates) == (2, 2, 0, 0, 2)
    assert [each.raw for each in letters.page()] == [b'{"bad":"x"}']
    assert letters.totals().replayed == 2


def test_many_letters_are_replayed_in_batches_each_once(letters: DeadLetters, log: LmdbEventLog) -> None:
    letters.append([letter(b'{"item":"%d"}' % number) for number in range(1_203)])
    groups: list[int] = []

    def append(events: Sequence[Event]) -> list[int | None]:
        groups.append(len(events))
        return log.append(events)

    assert replay(letters, ALL, doors(append), now_ms=NOW_MS, gate="2").replayed == 1_203
    assert groups == [500, 500, 203]
    assert [item for item, _ in logged(log)] == [str(number) for number in range(1_203)]


def test_what_is_left_of_a_letter_is_not_tried_again_by_the_same_replay(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    letters.append([letter(b'[{"item":"a"},{"bad":"x"}]')] * 501)
    assert run(letters, log) == ReplayReport(replayed=501, records=501, still_refused=501, by_reason={"x": 501})
    assert letters.totals().waiting == 501


def test_mended_bytes_take_the_place_of_the_letter_once(letters: DeadLetters, log: LmdbEventLog) -> None:
    letters.append([letter(b"{broken"), letter(b"{broken too")])
    assert fix(letters, log, 1, b'[{"item":"a"},{"item":"b"}]') == ReplayReport(replayed=1, records=2)
    assert logged(log) == [("a", CAME_MS), ("b", CAME_MS)]
    assert [each.number for each in letters.page()] == [2]
    assert fix(letters, log, 1, b'[{"item":"a"},{"item":"b"}]') == ReplayReport(missing=[1])
    assert log.last() == 2


def test_mended_bytes_that_are_refused_in_part_write_nothing_and_leave_the_letter_as_it_was(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    letters.append([letter(b"{broken")])
    before = letters.get(1)
    report = fix(letters, log, 1, b'[{"item":"a"},{"bad":"x"},{"bad":"y"}]')
    assert report == ReplayReport(still_refused=2, by_reason={"x": 1, "y": 1})
    assert letters.get(1) == before
    assert log.last() == 0


def test_an_empty_file_is_not_taken_for_mended_bytes(letters: DeadLetters, log: LmdbEventLog) -> None:
    letters.append([letter(b"{broken")])
    with pytest.raises(DataError, match="dead letter 1 are empty"):
        fix(letters, log, 1, b"")
    assert (letters.totals().waiting, letters.totals().replayed, log.last()) == (1, 0, 0)


def test_mended_bytes_written_by_a_killed_replay_are_not_written_again(letters: DeadLetters, log: LmdbEventLog) -> None:
    letters.append([letter(b"{broken")])

    def append_and_fail(events: Sequence[Event]) -> list[int | None]:
        log.append(events)
        raise StoreError("killed")

    with pytest.raises(StoreError):
        replay_with(letters, 1, b'{"item":"a"}', doors(append_and_fail), now_ms=NOW_MS, gate="2")
    assert fix(letters, log, 1, b'{"item":"a"}') == ReplayReport(replayed=1, duplicates=1)
    assert log.last() == 1


def test_mended_bytes_may_be_of_another_content_type(letters: DeadLetters) -> None:
    seen: list[str] = []

    def note(body: bytes, content_type: str, **more: Any) -> Admitted[Any]:
        seen.append(content_type)
        return admit(b"{", content_type, **more)

    letters.append([letter(b"\xc3\x01", content_type="avro/binary")])
    for content_type in (None, "application/json"):
        door = Door(note, lambda records: [])
        replay_with(letters, 1, b"{}", {"event": door}, now_ms=NOW_MS, gate="2", content_type=content_type)
    assert seen == ["avro/binary", "application/json"]


def test_a_letter_stays_forgotten_when_it_is_forgotten_during_its_replay(
    letters: DeadLetters, log: LmdbEventLog
) -> None:
    letters.append([letter(b'[{"item":"a"},{"bad":"x","user_id":"ann"}]')])

    def forget_and_append(events: Sequence[Event]) -> list[int | None]:
        letters.forget(["ann"])
        return log.append(events)

    assert replay(letters, ALL, doors(forget_and_append), now_ms=NOW_MS, gate="2").replayed == 0
    assert letters.page() == []


def test_a_report_is_plain_json() -> None:
    report = ReplayReport(replayed=1, missing=[3], by_reason={"x": 2})
    assert msgspec.json.decode(msgspec.json.encode(report), type=ReplayReport) == report
