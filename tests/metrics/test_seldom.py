"""What fails in every request is told now and then."""

import logging

import pytest

from upnext.clock import ManualClock
from upnext.metrics.seldom import Seldom


def test_each_kind_is_told_at_once_and_then_every_ten_seconds_with_how_often(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    seldom = Seldom(logging.getLogger("upnext.test"), clock)
    for _ in range(100):
        seldom.exception("the ranker failed", ValueError("no"))
        clock.advance(50.0)
    seldom.exception("the ranker failed", TypeError("another kind"))
    seldom.exception("the index failed", ValueError("no"))
    assert [record.getMessage() for record in caplog.records] == [
        "the ranker failed", "the ranker failed", "the index failed",
    ]  # fmt: skip
    assert all(record.exc_info for record in caplog.records)
    clock.advance(5_000.0)
    caplog.clear()
    seldom.exception("the ranker failed", ValueError("no"))
    assert [record.getMessage() for record in caplog.records] == [
        "the ranker failed (99 more times since it was last told)"
    ]


def test_made_up_kinds_do_not_pile_up() -> None:
    seldom = Seldom(logging.getLogger("upnext.test"), ManualClock())
    for number in range(1_000):
        seldom.exception(f"source {number}", ValueError())
    assert len(seldom._kinds) <= 200
