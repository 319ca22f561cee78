"""An import fills log and records, and its report accounts for every row."""

from collections.abc import Iterator

import pytest

from upnext.clock import ManualClock
from upnext.domain.event import Event, Item, User
from upnext.ingest.importers.run import BATCH_RECORDS, EXAMPLES_PER_REASON, import_into
from upnext.ingest.importers.source import Record, Rejected, rejected
from upnext.ingest.memory_log import MemoryEventLog
from upnext.ingest.records import Records

CLOCK = ManualClock(1_760_000_000_000)


class Listed:
    """A source of given records, one a line."""

    format = "listed"

    def __init__(self, records: list[Record]) -> None:
        self._records = records
        self.line = 0

    @property
    def rows_read(self) -> int:
        return self.line

    def fraction_read(self) -> float:
        return self.line / len(self._records)

    def records(self) -> Iterator[Record]:
        for record in self._records:
            self.line += 1
            yield record


def click(number: int, **changes: object) -> Event:
    fields = {"event_id": f"e{number}", "timestamp_ms": CLOCK.now_ms() - 1000, "user_id": "u", "item_id": "i"}
    return Event(action="click", **{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def log() -> MemoryEventLog:
    return MemoryEventLog()


def test_events_go_to_the_log_and_items_and_users_to_the_records(log: MemoryEventLog, records: Records) -> None:
    item, user = Item(item_id="i", title="é"), User(user_id="u", attributes={"age": 3})
    report = import_into(Listed([item, user, click(1), click(2)]), log, records, clock=CLOCK)
    assert [event for _, event in log.scan()] == [click(1), click(2)]
    assert list(records.items()) == [item]
    assert list(records.users()) == [user]
    assert (report.rows_read, report.accepted_events, report.items, report.users) == (4, 2, 1, 1)


def test_of_an_event_without_consent_nothing_is_kept(log: MemoryEventLog, records: Records) -> None:
    report = import_into(Listed([click(1), click(2, consent=False)]), log, records, clock=CLOCK)
    assert [event.event_id for _, event in log.scan()] == ["e1"]
    assert (report.rows_read, report.accepted_events, report.withheld, report.rejected) == (2, 1, 1, {})


def test_importing_twice_adds_nothing(log: MemoryEventLog, records: Records) -> None:
    listed: list[Record] = [Item(item_id="i"), *(click(number) for number in range(5))]
    import_into(Listed(listed), log, records, clock=CLOCK)
    report = import_into(Listed(listed), log, records, clock=CLOCK)
    assert (report.accepted_events, report.duplicates) == (0, 5)
    assert log.last() == 5
    assert len(list(records.items())) == 1


def test_records_that_break_their_contract_are_rejected_with_their_lines(log: MemoryEventLog, records: Records) -> None:
    listed: list[Record] = [
        click(1),
        click(2, timestamp_ms=1_700_000_000),
        Item(item_id="x" * 300),
        User(user_id=""),
        Rejected(9, "bad_number", "line 9 has x"),
    ]
    report = import_into(Listed(listed), log, records, clock=CLOCK)
    assert report.rejected == {"timestamp_in_seconds": 1, "id_too_long": 1, "empty_id": 1, "bad_number": 1}
    assert {reason: examples[0].line for reason, examples in report.examples.items()} == {
        "timestamp_in_seconds": 2, "id_too_long": 3, "empty_id": 4, "bad_number": 9,
    }  # fmt: skip
    assert report.accepted_events + sum(report.rejected.values()) == report.rows_read
    assert log.last() == 1


def test_the_report_keeps_only_the_first_examples_of_a_reason(log: MemoryEventLog, records: Records) -> None:
    listed: list[Record] = [rejected(number, "bad_number", "is bad") for number in range(1, 100)]
    report = import_into(Listed(listed), log, records, clock=CLOCK)
    assert report.rejected == {"bad_number": 99}
    assert [example.line for example in report.examples["bad_number"]] == list(range(1, EXAMPLES_PER_REASON + 1))


def test_progress_is_told_after_every_batch_and_at_the_end(log: MemoryEventLog, records: Records) -> None:
    told: list[tuple[int, float]] = []
    listed: list[Record] = [click(number) for number in range(2 * BATCH_RECORDS + 1)]
    import_into(Listed(listed), log, records, clock=CLOCK, progress=lambda rows, part: told.append((rows, part)))
    assert [rows for rows, _ in told] == [BATCH_RECORDS, 2 * BATCH_RECORDS, 2 * BATCH_RECORDS + 1]
    assert told[-1][1] == 1.0
