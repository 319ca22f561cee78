"""How requests read states: a store out of reach is left alone for a while, a late request blames nobody."""

from typing import Any

import pytest

from upnext.clock import Deadline, ManualClock
from upnext.errors import StoreError, StoreTimeout
from upnext.features.user_view import UserView
from upnext.serve.reader import StateReader
from upnext.store.memory_store import MemoryStore


class AskedLive:
    """In place of a release: raises what it is told to, after so long."""

    def __init__(self, clock: ManualClock) -> None:
        self.asked = 0
        self.error: StoreError | None = None
        self.takes_ms = 0.0
        self._clock = clock

    def view(self, *_: Any) -> UserView:
        self.asked += 1
        self._clock.advance(self.takes_ms)
        if self.error:
            raise self.error
        return UserView(state_version=7)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def live(clock: ManualClock) -> AskedLive:
    return AskedLive(clock)


def ask(reader: StateReader, live: AskedLive, clock: ManualClock, subject: str | None = "u:a") -> int:
    try:
        return reader.view(live, subject, Deadline.after(clock, 50)).state_version  # type: ignore[arg-type]
    except StoreError:
        return -1


@pytest.mark.parametrize(("error", "takes_ms"), [(StoreError("refused"), 0.0), (StoreTimeout("slow"), 20.0)])
def test_after_a_failure_nobody_asks_for_a_while_and_then_one_does(
    clock: ManualClock, live: AskedLive, error: StoreError, takes_ms: float
) -> None:
    reader = StateReader(MemoryStore(clock), clock)
    live.error, live.takes_ms = error, takes_ms
    assert [ask(reader, live, clock) for _ in range(3)] == [-1, -1, -1]
    assert live.asked == 1
    clock.advance(251)
    live.error = None
    assert ask(reader, live, clock) == 7


def test_a_request_that_was_late_before_it_asked_stops_no_other(clock: ManualClock, live: AskedLive) -> None:
    reader = StateReader(MemoryStore(clock), clock)
    live.error = StoreTimeout("the deadline passed before reading")
    assert ask(reader, live, clock) == -1
    live.error = None
    assert ask(reader, live, clock) == 7


def test_nobody_in_particular_is_answered_while_the_store_rests(clock: ManualClock, live: AskedLive) -> None:
    reader = StateReader(MemoryStore(clock), clock)
    live.error = StoreError("refused")
    ask(reader, live, clock)
    live.error = None
    assert ask(reader, live, clock, subject=None) == 7
