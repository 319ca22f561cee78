"""Requests never wait for the disk: slates are written behind them, and what finds no place is counted."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.serving import NOW_MS, slate
from upnext.clock import ManualClock
from upnext.errors import StoreError
from upnext.ingest.served_slates import ServedSlates
from upnext.ingest.served_writer import ServedWriter
from upnext.settings import ImpressionSettings


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedSlates]:
    served = ServedSlates(tmp_path / "served", ImpressionSettings(), ManualClock(NOW_MS))
    yield served
    served.close()


def kept(served: ServedSlates) -> set[str]:
    return {joined.slate.request_id for joined in served.all()}


def test_what_is_offered_is_written_in_the_background(served):
    written = threading.Event()
    put = served.put

    def putting(slates) -> None:
        put(slates)
        written.set()

    served.put = putting
    writer = ServedWriter(served, queue_slates=10)
    writer.start()
    assert writer.offer(slate("r"))
    assert written.wait(timeout=10)
    assert kept(served) == {"r"}
    writer.close()
    assert (writer.written, writer.dropped) == (1, 0)


def test_closing_writes_what_is_queued(served):
    writer = ServedWriter(served, queue_slates=1_000)
    writer.start()
    for number in range(600):  # more than one transaction
        writer.offer(slate(f"r{number}"))
    writer.close()
    assert len(kept(served)) == writer.written == 600


def test_past_its_bound_the_queue_drops_and_counts(served):
    writer = ServedWriter(served, queue_slates=2)
    assert [writer.offer(slate(name)) for name in "abc"] == [True, True, False]
    assert writer.dropped == 1
    writer.flush()
    assert writer.offer(slate("d"))
    writer.close()
    assert kept(served) == {"a", "b", "d"}


def test_slates_that_cannot_be_written_are_dropped_and_later_ones_are_not(served, caplog):
    put = served.put

    def fail(slates) -> None:
        raise StoreError("the disk is full")

    writer = ServedWriter(served, queue_slates=10)
    served.put = fail
    writer.offer(slate("a"))
    writer.flush()
    assert (writer.written, writer.dropped) == (0, 1)
    assert "could not be kept" in caplog.text
    served.put = put
    writer.offer(slate("b"))
    writer.close()
    assert kept(served) == {"b"}


def test_many_threads_may_offer(served):
    writer = ServedWriter(served, queue_slates=10_000)
    writer.start()
    threads = [
        threading.Thread(target=lambda name=name: [writer.offer(slate(f"{name}{n}")) for n in range(100)])
        for name in "abc"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert len(kept(served)) == writer.written == 300
