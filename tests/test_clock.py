"""Clocks and deadlines."""

import math

from upnext.clock import Deadline, ManualClock, SystemClock


def test_a_manual_clock_stands_still_until_told_to_move() -> None:
    clock = ManualClock(1_000)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_000, 0.0)
    clock.advance(2.5)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_002, 2.5)


def test_setting_the_date_back_does_not_turn_back_the_monotonic_clock() -> None:
    clock = ManualClock(1_000)
    clock.set_now(1_500)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_500, 500.0)
    clock.set_now(200)
    assert (clock.now_ms(), clock.monotonic_ms()) == (200, 500.0)


def test_a_deadline_passes_at_its_moment_and_not_before() -> None:
    clock = ManualClock()
    deadline = Deadline.after(clock, 10.0)
    assert deadline.at_ms == 10.0
    clock.advance(9.5)
    assert (deadline.left_ms(), deadline.passed()) == (0.5, False)
    clock.advance(0.5)
    assert (deadline.left_ms(), deadline.passed()) == (0.0, True)
    clock.advance(3)
    assert deadline.left_ms() == -3.0


def test_a_deadline_without_end_never_passes() -> None:
    clock = ManualClock()
    for deadline in (Deadline.never(clock), Deadline.after(clock, math.inf)):
        clock.advance(1e15)
        assert (deadline.left_ms(), deadline.passed()) == (math.inf, False)


def test_the_system_clock_tells_the_date_in_milliseconds_and_never_goes_back() -> None:
    clock = SystemClock()
    assert 1_700_000_000_000 < clock.now_ms() < 5_000_000_000_000
    moments = [clock.monotonic_ms() for _ in range(100)]
    assert moments == sorted(moments)
