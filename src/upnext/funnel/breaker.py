"""Whether a thing that may fail or hang is still asked: circuit breakers. They call nothing, and know no deadlines."""

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

from upnext.clock import Clock
from upnext.settings import PressureSettings

State: TypeAlias = Literal["closed", "open", "half_open"]
# Hears of every change of state: name of the breaker, state before, state after.
Listener: TypeAlias = Callable[[str, State, State], None]


class CircuitBreaker:
    """Stops calls to what fails or is slow too often, and tries again by itself (Nygard, Release It!, 2007, 5.2).

    `closed`: every call goes through. It opens when, of the newest calls, too large a share failed or was slow; and at
    once when one hung, since to wait for more of that kind would take too long.
    `open`: none does, for a fixed time. `half_open`: probes go through, one after the other, so that a thing which
    still hangs costs one call; the first bad one opens it again, enough good ones in a row close it. A probe of which
    nothing is heard for as long as the breaker stays open is given up, and another takes its place.

    A call that began before the breaker last opened says nothing of what is now, and is not counted.

    For any number of threads. A closed breaker allows without a lock, in 0.05 µs; results are counted under one that is
    held for less than a microsecond.
    """

    def __init__(
        self,
        name: str,
        settings: PressureSettings,
        clock: Clock,
        listener: Listener | None = None,
        *,
        slow_ms: float | None = None,
        hung_ms: float | None = None,
    ) -> None:
        """`listener` is called by whichever thread caused the change, without a lock held; it must not raise.

        `slow_ms` takes the place of `pressure.breaker_slow_ms` for what is quicker than a ranker. A call has hung that
        took `hung_ms`; without it, as long as the breaker stays open.
        """
        self.name = name
        self._settings = settings
        self._clock = clock
        self._listener = listener
        self._slow_ms = settings.breaker_slow_ms if slow_ms is None else slow_ms
        self._hung_ms = settings.breaker_open_ms if hung_ms is None else hung_ms
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._opened_ms = -math.inf
        self._probe_ms = -math.inf  # when the probe under way was let through; -inf without one
        self._good_probes = 0
        self._calls: deque[tuple[float, bool, bool]] = deque()  # when it ended, whether it failed, whether it was slow
        self._failed = self._slow = 0  # how many of them

    @property
    def state(self) -> State:
        """As the last call left it: an open one whose time is over becomes half-open when next asked."""
        return self._state

    def allow(self) -> bool:
        """Whether to call now. After True, exactly one of `record`, `abandoned` and `cancelled` must follow."""
        if self._state == "closed":
            return True
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            before = self.state  # it may have closed meanwhile
            allowed = before == "closed" or self._probe(now_ms)
            after = self._state
        self._tell(before, after)
        return allowed

    def record(self, spent_ms: float, ok: bool) -> None:
        """A call came back, `spent_ms` after it began; `ok` is False where it failed."""
        self._count(spent_ms, not ok)

    def abandoned(self, spent_ms: float) -> None:
        """A call is waited for no longer, `spent_ms` after it began: a failure. What comes of it is not recorded."""
        self._count(spent_ms, True)

    def cancelled(self, spent_ms: float) -> None:
        """A call ended, `spent_ms` after it began, in a way that says nothing of what was called.

        A probe so ended is none: the next call takes its place.
        """
        if self._state == "closed":
            return
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            if self._state == "half_open" and now_ms - spent_ms > self._opened_ms:
                self._probe_ms = -math.inf

    def _probe(self, now_ms: float) -> bool:
        open_ms = self._settings.breaker_open_ms
        if self._state == "open":
            if now_ms - self._opened_ms < open_ms:
                return False
            self._state = "half_open"
            self._good_probes = 0
        elif now_ms - self._probe_ms < open_ms:
            return False
        self._probe_ms = now_ms
        return True

    def _count(self, spent_ms: float, failed: bool) -> None:
        slow = spent_ms > self._slow_ms
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            before = self._state
            if now_ms - spent_ms <= self._opened_ms:
                return
            if before == "closed":
                self._count_closed(now_ms, failed, slow)
                if spent_ms >= self._hung_ms:
                    self._open(now_ms)
            elif before == "half_open":
                self._count_probe(now_ms, failed or slow)
            after = self._state
        if after is not before:
            self._tell(before, after)

    def _count_closed(self, now_ms: float, failed: bool, slow: bool) -> None:
        calls, settings = self._calls, self._settings
        calls.append((now_ms, failed, slow))
        if failed or slow:
            self._failed += failed
            self._slow += slow
        forgotten_ms = now_ms - settings.breaker_window_ms
        while len(calls) > settings.breaker_calls or calls[0][0] <= forgotten_ms:
            _, failed, slow = calls.popleft()
            if failed or slow:
                self._failed -= failed
                self._slow -= slow
        n = len(calls)
        if (
            (self._failed or self._slow)
            and n >= settings.breaker_least_calls
            and (self._failed >= n * settings.breaker_failed_share or self._slow >= n * settings.breaker_slow_share)
        ):
            self._open(now_ms)

    def _count_probe(self, now_ms: float, bad: bool) -> None:
        if bad:
            self._open(now_ms)
            return
        self._probe_ms = -math.inf
        self._good_probes += 1
        if self._good_probes >= self._settings.breaker_probes:
            self._state = "closed"

    def _open(self, now_ms: float) -> None:
        self._state = "open"
        self._opened_ms = now_ms
        self._calls.clear()
        self._failed = self._slow = 0

    def _tell(self, before: State, after: State) -> None:
        if before != after and self._listener is not None:
            self._listener(self.name, before, after)
