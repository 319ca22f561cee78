"""How requests read users' states: briefly, never waiting long for a store that is out of reach; knows no HTTP."""

import logging
from collections import deque
from collections.abc import Sequence
from typing import cast

from upnext.clock import Clock, Deadline
from upnext.errors import StoreError, StoreTimeout
from upnext.features.user_view import UserView
from upnext.funnel.breaker import CircuitBreaker
from upnext.funnel.live import Live
from upnext.state.apply import Healed, put_back
from upnext.store.interface import Store, Values

_REST = 5.0  # times as long as a failure took nobody tries: no more than a sixth of all time goes into failing
_SLOW_MS = 5.0  # a read that takes longer and then runs out of the request's time says something of the store
_MOST_HEALED = 2_000
_AT_ONCE = 200
_log = logging.getLogger(__name__)


class GuardedReads:
    """Reads of a store, as long as it answers. Whatever a request waits for is to be read through the same one.

    It takes a breaker several failures to open, half of its newest calls; the rest after each keeps these apart, so
    that requests are answered in between rather than queue behind one failure after the other.
    """

    def __init__(self, store: Store, clock: Clock, breaker: CircuitBreaker) -> None:
        self._store = store
        self._clock = clock
        self._breaker = breaker
        self._rest_until_ms = 0.0
        self._failing = False
        self.failures = 0  # reads that failed or were refused

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        """As of `Store`. Raises `StoreError` at once while the store is left alone."""
        begin_ms = self._clock.monotonic_ms()
        if begin_ms < self._rest_until_ms or not self._breaker.allow():
            self.failures += 1
            raise StoreError("the store did not answer a moment ago; it is asked again in a moment")
        try:
            values = self._store.get_many(keys, deadline)
        except Exception as error:
            self._failed(error, begin_ms, deadline)
            raise
        self._breaker.record(self._clock.monotonic_ms() - begin_ms, True)
        if self._failing:
            _log.warning("users' states can be read again")
            self._failing = False
        return values

    def _failed(self, error: Exception, begin_ms: float, deadline: Deadline) -> None:
        self.failures += 1
        now_ms = self._clock.monotonic_ms()
        spent_ms = now_ms - begin_ms
        if isinstance(error, StoreTimeout) and deadline.passed() and spent_ms < _SLOW_MS:
            self._breaker.cancelled(spent_ms)  # a request that was almost late before it asked blames nobody
            return
        self._breaker.record(spent_ms, False)
        self._rest_until_ms = now_ms + _REST * spent_ms
        if not self._failing:
            _log.error("users' states cannot be read (%s); slates go on without them", error)
        self._failing = True


class _ReadsBeside:
    """Reads with whose keys others are read along."""

    def __init__(self, reads: GuardedReads, beside: dict[bytes, bytes | None]) -> None:
        self._reads = reads
        self._beside = beside

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        values = self._reads.get_many([*keys, *self._beside], deadline)
        for key, value in zip(self._beside, values[len(keys) :], strict=True):
            self._beside[key] = value
        return values[: len(keys)]


class StateReader:
    """Reads views for one compute thread; what was healed in reading is put back by another thread, now and then."""

    def __init__(self, store: Store, clock: Clock, breaker: CircuitBreaker) -> None:
        """`breaker` stands before `store`, for whatever is read through `reads`."""
        self._store = store
        self._clock = clock
        self.reads = GuardedReads(store, clock, breaker)
        self._healed: deque[Healed] = deque(maxlen=_MOST_HEALED)  # past that the oldest are healed again when read

    def view(
        self, live: Live, subject: str | None, deadline: Deadline, beside: dict[bytes, bytes | None] | None = None
    ) -> UserView:
        """What is known of a subject now; the default view for None. `beside` gets the values of its keys, if any.

        They are read in the same round trip; their keys must end as the subject's do, see `Store`. Raises
        `StoreError`: at once while the store is left alone, and for a record that cannot be read.
        """
        failures = self.reads.failures
        reads = _ReadsBeside(self.reads, beside) if beside else self.reads
        try:
            return live.view(subject, cast(Store, reads), deadline, self._healed.append)  # which only reads
        except StoreError as error:
            if self.reads.failures == failures:
                _log.error("what is stored of one user is of no use (%s); their slates go on without it", error)
            raise

    def put_back(self) -> None:
        """Stores what was healed since the last time. Raises `StoreError`; what was not stored is healed again."""
        while self._healed:
            some = [self._healed.popleft() for _ in range(min(_AT_ONCE, len(self._healed)))]
            put_back(some, self._store, Deadline.never(self._clock))
