"""The gate logs what is good in a body and says what was not."""

import json

from upnext.clock import ManualClock
from upnext.ingest.gate import EventGate
from upnext.ingest.memory_log import MemoryEventLog

CLOCK = ManualClock(1_760_000_000_000)


def body(*item_ids: str) -> bytes:
    return json.dumps(
        [{"event_id": f"e{item}", "action": "click", "user_id": "u", "item_id": item} for item in item_ids]
    ).encode()


def test_good_events_are_in_the_log_when_the_receipt_is_there() -> None:
    log = MemoryEventLog()
    receipt = EventGate(log, CLOCK).accept(body("a", "", "b"))
    assert [(sequence, event.item_id) for sequence, event in receipt.accepted] == [(1, "a"), (2, "b")]
    assert [event for _, event in log.scan()] == [event for _, event in receipt.accepted]
    assert [error.path for error in receipt.rejected] == ["$[1].item_id"]
    assert receipt.accepted[0][1].timestamp_ms == CLOCK.now_ms()


def test_events_sent_again_are_duplicates_and_not_logged() -> None:
    log = MemoryEventLog()
    gate = EventGate(log, CLOCK)
    gate.accept(body("a"))
    receipt = gate.accept(body("a", "b"))
    assert [event.item_id for event in receipt.duplicates] == ["a"]
    assert [event.item_id for _, event in receipt.accepted] == ["b"]
    assert log.last() == 2


def test_a_body_that_is_no_json_is_one_rejection_and_logs_nothing() -> None:
    log = MemoryEventLog()
    receipt = EventGate(log, CLOCK).accept(b"{")
    assert [error.reason for error in receipt.rejected] == ["malformed_json"]
    assert (receipt.accepted, log.last()) == ([], 0)


def test_events_without_an_id_get_one_from_the_given_maker() -> None:
    gate = EventGate(MemoryEventLog(), CLOCK, event_id=lambda: "made")
    receipt = gate.accept(b'{"action":"app_open","session_id":"s"}')
    assert [event.event_id for _, event in receipt.accepted] == ["made"]
