"""The slowest requests are kept for an hour, whichever worker answered them, and say what took the time."""

import gc
import os
from pathlib import Path

import pytest

from upnext.clock import ManualClock
from upnext.metrics.diary import KEPT_PER_SLOT, SLOT_MS, SLOTS, Diary, GcPauses, SlowRequest, cause_of


def slow(clock: ManualClock, total_ms: float, request_id: str = "") -> SlowRequest:
    return SlowRequest(
        at_ms=clock.now_ms(), request_id=request_id or f"r{total_ms:g}", subject="u:1", surface="", tier="full",
        route="live", exit="exit8", n_interactions=3, total_ms=total_ms, timing_ms={}, gc_ms=0.0, cause="queue",
    )  # fmt: skip


def test_the_slowest_of_each_five_minutes_are_kept_slowest_first() -> None:
    clock = ManualClock()
    diary = Diary(clock, None, "default")
    for total_ms in range(1, 101):
        assert diary.least_ms <= total_ms  # nothing that would be kept is turned away before
        diary.note(slow(clock, float(total_ms)))
    assert [each.total_ms for each in diary.all(3)] == [100.0, 99.0, 98.0]
    assert len(diary.all(1_000)) == KEPT_PER_SLOT
    assert diary.least_ms == 101.0 - KEPT_PER_SLOT
    clock.advance(SLOT_MS)
    diary.turn()
    assert diary.least_ms == 0.0  # the next five minutes begin anew
    diary.note(slow(clock, 5.0))
    assert diary.all(1_000)[-1].total_ms == 5.0


def test_after_an_hour_they_are_forgotten() -> None:
    clock = ManualClock()
    diary = Diary(clock, None, "default")
    diary.note(slow(clock, 70.0))
    clock.advance((SLOTS - 1) * SLOT_MS)
    diary.turn()
    assert [each.total_ms for each in diary.all(10)] == [70.0]
    clock.advance(SLOT_MS)
    diary.turn()
    assert diary.all(10) == []


def test_what_other_workers_published_is_told_too_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    with monkeypatch.context() as other:
        other.setattr(os, "getpid", lambda: 4_711)
        for name, total_ms in (("default", 90.0), ("shop", 500.0)):
            diary = Diary(clock, tmp_path, name)
            diary.note(slow(clock, total_ms))
            diary.publish()
    mine = Diary(clock, tmp_path, "default")
    mine.note(slow(clock, 40.0))
    mine.publish()
    assert [each.total_ms for each in mine.all(10)] == [90.0, 40.0]
    clock.advance(SLOTS * SLOT_MS)
    assert mine.all(10) == []
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"4711-shop.slow", f"{os.getpid()}-default.slow"}  # of the dead, what is over is removed when read


@pytest.mark.parametrize(
    ("timing_ms", "gc_ms", "cause"),
    [
        ({"queue": 30.0, "state": 1.0, "retrieval": 2.0}, 0.0, "queue"),
        ({"queue": 1.0, "state": 25.0, "retrieval": 2.0}, 0.0, "store"),
        ({"retrieval": 20.0, "ranking": 5.0}, 0.0, "index"),
        ({"retrieval": 5.0, "ranking": 20.0}, 0.0, "ranker"),
        ({"retrieval": 5.0, "reranking": 20.0}, 0.0, "rules"),
        ({"queue": 1.0, "ranking": 4.0}, 0.0, "waiting"),
        ({"ranking": 39.0}, 20.0, "gc"),
    ],
)
def test_the_cause_is_what_took_most_of_the_time(timing_ms: dict[str, float], gc_ms: float, cause: str) -> None:
    assert cause_of({**timing_ms, "total": 40.0}, 40.0, gc_ms) == cause


def test_collections_within_a_request_are_counted_and_no_others() -> None:
    clock = ManualClock()
    pauses = GcPauses(clock)
    pauses.start()
    try:
        gc.collect()
    finally:
        pauses.stop()
    pauses._ran("start", {})
    clock.advance(10.0)
    pauses._ran("stop", {})  # from 0 to 10
    assert pauses.within_ms(4.0, 50.0) == 6.0
    assert pauses.within_ms(10.0, 50.0) == 0.0
