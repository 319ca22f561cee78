"""How requests read users' states: briefly, never waiting long for a store that is out of reach; knows no HTTP."""

import logging
from collections import deque

from upnext.clock import Clock, Deadline
from upnext.errors import StoreError, StoreTimeout
from upnext.features.user_view import UserView
from upnext.funnel.live import Live
from upnext.state.apply import Healed, put_back
from upnext.store.interface import Store

_REST_MS = 250.0  # after a failure, in which nobody tries: else every request would wait for its own time-out
_SLOW_MS = 5.0  # a read that takes longer and then runs out of time says something of the store
_MOST_HEALED = 2_000
_AT_ONCE = 200
_log = logging.getLogger(__name__)


class StateReader:
    """Reads views for one compute thread; what was healed in reading is put back by another thread, now and then."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._rest_until_ms = 0.0
        self._failing = False
        self._healed: deque[Healed] = deque(maxlen=_MOST_HEALED)  # past that the oldest are healed again when read

    def view(self, live: Live, subject: str | None, deadline: Deadline) -> UserView:
        """What is known of a subject now; the default view for None. Raises `StoreError`, at once while it rests."""
        if subject is not None and self._clock.monotonic_ms() < self._rest_until_ms:
            raise StoreError("the store did not answer a moment ago; it is asked again in a moment")
        begin_ms = self._clock.monotonic_ms()
        try:
            view = live.view(subject, self._store, deadline, self._healed.append)
        except StoreError as error:
            # A request that was late before it asked says nothing of the store.
            if not isinstance(error, StoreTimeout) or self._clock.monotonic_ms() - begin_ms >= _SLOW_MS:
                self._rest(error)
            raise
        if self._failing and subject is not None:
            _log.warning("users' states can be read again")
            self._failing = False
        return view

    def put_back(self) -> None:
        """Stores what was healed since the last time. Raises `StoreError`; what was not stored is healed again."""
        while self._healed:
            some = [self._healed.popleft() for _ in range(min(_AT_ONCE, len(self._healed)))]
            put_back(some, self._store, Deadline.never(self._clock))

    def _rest(self, error: StoreError) -> None:
        self._rest_until_ms = self._clock.monotonic_ms() + _REST_MS
        if not self._failing:
            _log.error("users' states cannot be read (%s); slates go on without them", error)
        self._failing = True
