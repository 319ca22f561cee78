"""How many full requests a worker works on at once; past that a request gets a lower tier, and never waits here."""

import math

from upnext.clock import Clock
from upnext.settings import PressureSettings

_BACKOFF = 0.9  # of the limit, that is kept when waits are too long


class Admission:
    """A limit on concurrent full-tier work that finds itself, from how long that work waits for the compute thread.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989): one more per limit of requests that waited less
    than is aimed at, a tenth less when one waited longer or was late; at most once in the time of such a wait, since
    those that wait beside it tell the same (as TCP, once per round trip). The limit rises only while it is in use, so
    a calm hour does not leave it wide open. Aiming at a wait above nothing keeps the thread busy: with a service time
    of s, the limit settles at about 1 + wait / s.

    For the thread of the event loop.
    """

    def __init__(self, settings: PressureSettings, clock: Clock) -> None:
        self._wait_ms = settings.admission_wait_ms
        self._most = float(settings.admission_most)
        self._clock = clock
        self._limit = min(float(settings.admission_start), self._most)
        self._inside = 0
        self._decreased_ms = -math.inf

    @property
    def limit(self) -> int:
        """Most requests at once, now; at least 1."""
        return int(self._limit)

    @property
    def inside(self) -> int:
        """Requests that entered and did not leave."""
        return self._inside

    def enter(self) -> bool:
        """Whether the request may be full. After True, `leave` or `cancel` must follow once, whatever becomes of it."""
        if self._inside >= int(self._limit):
            return False
        self._inside += 1
        return True

    def leave(self, waited_ms: float, in_time: bool) -> None:
        """The work is done or given up, `waited_ms` having passed between `enter` and its start.

        `in_time` is False where this worker was late by its own promise, not by a budget that was too small for any.
        """
        used = self._inside >= int(self._limit)
        self._inside -= 1
        if in_time and waited_ms <= self._wait_ms:
            if used:
                self._limit = min(self._most, self._limit + 1.0 / self._limit)
            return
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._decreased_ms >= max(waited_ms, self._wait_ms):
            self._decreased_ms = now_ms
            self._limit = max(1.0, self._limit * _BACKOFF)

    def cancel(self) -> None:
        """The work was never started (its client left): nothing is learnt from it."""
        self._inside -= 1
