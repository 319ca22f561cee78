"""The only place that reads a clock, and the absolute deadlines handed down from it."""

import math
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for spans and deadlines, one for the date."""

    def monotonic_ms(self) -> float:
        """Milliseconds of a clock that never goes back; only differences mean something."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""


class SystemClock:
    """The machine's clocks."""

    def monotonic_ms(self) -> float:
        return time.perf_counter_ns() / 1e6

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until told to move, for tests and replays."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = float(now_ms)
        self._monotonic_ms = 0.0

    def monotonic_ms(self) -> float:
        return self._monotonic_ms

    def now_ms(self) -> int:
        return int(self._now_ms)

    def advance(self, span_ms: float) -> None:
        """Both clocks go forward by `span_ms`."""
        self._now_ms += span_ms
        self._monotonic_ms += span_ms

    def set_now(self, now_ms: int) -> None:
        """The date becomes `now_ms`; the monotonic clock goes forward by the difference, never back."""
        self._monotonic_ms += max(0.0, now_ms - self._now_ms)
        self._now_ms = float(now_ms)


class Deadline:
    """An absolute moment on a clock, set once at the door and passed down unchanged."""

    __slots__ = ("_clock", "at_ms")

    def __init__(self, clock: Clock, at_ms: float) -> None:
        self._clock = clock
        self.at_ms = at_ms

    @classmethod
    def after(cls, clock: Clock, budget_ms: float) -> "Deadline":
        """The moment `budget_ms` from now; infinite budgets give a deadline that never comes."""
        return cls(clock, clock.monotonic_ms() + budget_ms)

    @classmethod
    def never(cls, clock: Clock) -> "Deadline":
        return cls(clock, math.inf)

    def left_ms(self) -> float:
        """Milliseconds left, negative once it has passed."""
        return self.at_ms - self._clock.monotonic_ms()

    def passed(self) -> bool:
        return self._clock.monotonic_ms() >= self.at_ms
