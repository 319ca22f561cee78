"""Circuit breakers: what opens one, what closes it again, and what must do neither."""

import threading
from typing import Any

import pytest

from upnext.clock import ManualClock
from upnext.funnel.breaker import CircuitBreaker
from upnext.settings import PressureSettings

SETTINGS = PressureSettings(
    breaker_calls=10,
    breaker_window_ms=1_000.0,
    breaker_least_calls=4,
    breaker_failed_share=0.5,
    breaker_slow_share=0.5,
    breaker_slow_ms=50.0,
    breaker_open_ms=500.0,
    breaker_probes=3,
)


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.advance(1_000)
    return clock


@pytest.fixture
def heard() -> list[tuple[str, str, str]]:
    return []


@pytest.fixture
def breaker(clock: ManualClock, heard: list[tuple[str, str, str]]) -> CircuitBreaker:
    return CircuitBreaker("ranker", SETTINGS, clock, lambda *change: heard.append(change))


def call(breaker: CircuitBreaker, clock: ManualClock, spent_ms: float = 1.0, ok: bool = True) -> bool:
    """Calls where that is allowed; whether it was."""
    if not breaker.allow():
        return False
    clock.advance(spent_ms)
    breaker.record(spent_ms, ok)
    return True


def trip(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for _ in range(4):
        assert call(breaker, clock, ok=False)
    assert breaker.state == "open"


def test_it_opens_when_half_of_the_calls_failed_and_not_before(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for ok in (True, True, True, True, False, False, False):
        assert call(breaker, clock, ok=ok)
    assert breaker.state == "closed"
    call(breaker, clock, ok=False)
    assert breaker.state == "open"
    assert not breaker.allow()


def test_it_opens_when_half_of_the_calls_were_slow(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for spent_ms in (50, 50, 51, 50):
        call(breaker, clock, spent_ms)
    assert breaker.state == "closed", "50 ms is not slow"
    for _ in range(2):
        call(breaker, clock, 51)
    assert breaker.state == "open", "three of six were slow"


def test_a_few_failures_are_no_reason_until_there_were_enough_calls(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    for _ in range(3):
        assert call(breaker, clock, ok=False)
    assert breaker.state == "closed"
    call(breaker, clock)
    assert breaker.state == "open"


def test_only_the_newest_calls_count(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for ok in [True] * 100 + [False] * 4:
        call(breaker, clock, ok=ok)
    assert breaker.state == "closed"
    call(breaker, clock, ok=False)
    assert breaker.state == "open"


@pytest.mark.parametrize("bad", [{"ok": False}, {"spent_ms": 51.0}])
def test_bad_calls_pushed_out_of_the_window_are_forgotten(
    breaker: CircuitBreaker, clock: ManualClock, bad: dict[str, Any]
) -> None:
    for number in range(200):
        call(breaker, clock, **(bad if number % 10 == 9 else {}))
    assert breaker.state == "closed"


def test_calls_older_than_the_window_are_forgotten(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for _ in range(3):
        call(breaker, clock, ok=False)
    clock.advance(1_000)
    for ok in (True, True, True, False):
        call(breaker, clock, ok=ok)
    assert breaker.state == "closed"


@pytest.mark.parametrize(("given", "hung_ms"), [({}, 500), ({"hung_ms": 150.0}, 150)])
@pytest.mark.parametrize("ok", [True, False])
def test_one_call_that_hung_opens_it_at_once(
    clock: ManualClock, given: dict[str, float], hung_ms: float, ok: bool
) -> None:
    breaker = CircuitBreaker("ranker", SETTINGS, clock, **given)
    for _ in range(10):
        call(breaker, clock)
    call(breaker, clock, hung_ms - 1, ok=ok)
    assert breaker.state == "closed"
    call(breaker, clock, hung_ms, ok=ok)
    assert breaker.state == "open"
    assert not breaker.allow()


def test_what_is_slow_may_be_said_of_one_breaker_alone(clock: ManualClock) -> None:
    breaker = CircuitBreaker("store", SETTINGS, clock, slow_ms=10.0)
    for spent_ms in (10, 10, 11, 10):
        call(breaker, clock, spent_ms)
    assert breaker.state == "closed", "10 ms is not slow"
    for _ in range(2):
        call(breaker, clock, 11)
    assert breaker.state == "open", "three of six were slow"


def test_cancelled_calls_say_nothing_of_a_closed_one(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for ok in (False, None, None, None, True, True, True, False):
        assert breaker.allow()
        if ok is None:
            breaker.cancelled(60)
        else:
            breaker.record(0, ok)
        clock.advance(1)
    assert breaker.state == "closed", "two of five failed"
    call(breaker, clock, ok=False)
    assert breaker.state == "open", "three of six"


def test_a_cancelled_probe_makes_way_for_another_at_once_and_counts_for_nothing(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    trip(breaker, clock)
    clock.advance(500)
    for _ in range(3):
        assert breaker.allow()
        assert not breaker.allow()
        clock.advance(20)
        breaker.cancelled(20)
        assert breaker.state == "half_open"
    assert [call(breaker, clock) for _ in range(3)] == [True] * 3
    assert breaker.state == "closed"


def test_a_call_begun_before_it_opened_and_cancelled_later_does_not_end_another_s_probe(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    assert breaker.allow()
    begin_ms = clock.monotonic_ms()
    trip(breaker, clock)
    breaker.cancelled(clock.monotonic_ms() - begin_ms)
    assert breaker.state == "open"
    clock.advance(500)
    assert breaker.allow()
    breaker.cancelled(clock.monotonic_ms() - begin_ms)
    assert not breaker.allow(), "the probe is still under way"


def test_calls_that_never_come_back_are_failures(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for _ in range(4):
        assert breaker.allow()
        clock.advance(20)
        breaker.abandoned(20)
    assert breaker.state == "open"


def test_after_its_time_it_lets_one_probe_through_and_three_good_ones_close_it(
    breaker: CircuitBreaker, clock: ManualClock, heard: list[tuple[str, str, str]]
) -> None:
    trip(breaker, clock)
    clock.advance(499)
    assert not breaker.allow()
    clock.advance(1)
    assert breaker.allow()
    assert not breaker.allow(), "one probe at a time"
    clock.advance(1)
    breaker.record(1, True)
    assert call(breaker, clock)
    assert breaker.state == "half_open"
    assert call(breaker, clock)
    assert breaker.state == "closed"
    assert heard == [("ranker", "closed", "open"), ("ranker", "open", "half_open"), ("ranker", "half_open", "closed")]


@pytest.mark.parametrize(("spent_ms", "ok"), [(1.0, False), (51.0, True)])
def test_a_bad_or_slow_probe_opens_it_again_for_the_whole_time(
    breaker: CircuitBreaker, clock: ManualClock, spent_ms: float, ok: bool
) -> None:
    trip(breaker, clock)
    clock.advance(500)
    assert call(breaker, clock)
    assert call(breaker, clock, spent_ms, ok)
    assert breaker.state == "open"
    clock.advance(499)
    assert not breaker.allow()
    clock.advance(1)
    assert [call(breaker, clock) for _ in range(3)] == [True] * 3, "the good probe before does not count any more"
    assert breaker.state == "closed"


def test_the_probes_needed_are_counted_anew_each_time(breaker: CircuitBreaker, clock: ManualClock) -> None:
    trip(breaker, clock)
    for good in (2, 2):
        clock.advance(500)
        assert [call(breaker, clock) for _ in range(good)] == [True] * good
        assert breaker.state == "half_open"
        call(breaker, clock, ok=False)
        assert breaker.state == "open"


def test_an_abandoned_probe_opens_it_again(breaker: CircuitBreaker, clock: ManualClock) -> None:
    trip(breaker, clock)
    clock.advance(500)
    assert breaker.allow()
    clock.advance(150)
    breaker.abandoned(150)
    assert breaker.state == "open"


def test_a_probe_of_which_nothing_is_heard_makes_way_for_another(breaker: CircuitBreaker, clock: ManualClock) -> None:
    trip(breaker, clock)
    clock.advance(500)
    assert breaker.allow()
    clock.advance(499)
    assert not breaker.allow()
    clock.advance(1)
    assert breaker.allow()


def test_once_closed_again_it_judges_by_new_calls_only(breaker: CircuitBreaker, clock: ManualClock) -> None:
    trip(breaker, clock)
    clock.advance(500)
    for ok in (True, True, True, False, True, True, True):
        assert call(breaker, clock, ok=ok)
    assert breaker.state == "closed"


def test_calls_begun_before_it_opened_neither_close_it_nor_open_it_again(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    begin_ms = clock.monotonic_ms()
    assert all(breaker.allow() for _ in range(8))
    trip(breaker, clock)
    clock.advance(500)
    assert breaker.allow()
    for ok in (True, True, True, False):
        breaker.record(clock.monotonic_ms() - begin_ms, ok)
        assert breaker.state == "half_open"
        assert not breaker.allow(), "its probe is still under way"
    breaker.record(0, True)
    assert [call(breaker, clock) for _ in range(2)] == [True, True]
    for _ in range(4):
        breaker.abandoned(clock.monotonic_ms() - begin_ms)
    assert breaker.state == "closed"


def test_the_listener_may_ask_the_breaker(clock: ManualClock) -> None:
    states = []
    breaker = CircuitBreaker("store", SETTINGS, clock, lambda *_: states.append((breaker.state, breaker.allow())))
    trip(breaker, clock)
    assert states == [("open", False)]


def test_threads_that_ask_at_once_get_one_probe_between_them(breaker: CircuitBreaker, clock: ManualClock) -> None:
    trip(breaker, clock)
    clock.advance(500)
    gate = threading.Barrier(8)
    allowed: list[bool] = []

    def ask() -> None:
        gate.wait()
        allowed.append(breaker.allow())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(allowed) == [False] * 7 + [True]
