"""The session consumer as a worker runs it: states follow the log, and a store out of reach holds nobody up."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from upnext.clock import Clock, Deadline
from upnext.errors import UpnextError
from upnext.ingest.log_interface import EventLog
from upnext.settings import Settings
from upnext.state.advance import SessionStepper
from upnext.state.session_consumer import session_consumer
from upnext.store.interface import Store

_REST_MS = 250.0  # after a failure, so that not every commit waits for a store that is out of reach
_LONGEST_ROUND_MS = 200.0  # of following, after which other work of the thread has its turn
_log = logging.getLogger(__name__)


class StateApplier:
    """Moves users' states by the log, whichever worker or command appended to it."""

    def __init__(
        self,
        event_log: EventLog,
        store: Store,
        folder: Path,
        settings: Settings,
        clock: Clock,
        stepper: Callable[[], SessionStepper | None],
        moved: Callable[[Iterable[str]], None] = lambda subjects: None,
    ) -> None:
        """`stepper` gives the session encoder of the release in force; `folder` holds the consumers' locks.

        `moved` hears whose states were stored, before anybody is told that their events are applied.
        """
        self._event_log = event_log
        self._settings = settings
        self._clock = clock
        self._consumer = session_consumer(event_log, store, folder, settings.state, clock, stepper, moved)
        self._rest_until_ms = 0.0
        self._failing = False
        self._offset = 0

    def apply(self, until: int) -> bool:
        """Whether all events up to number `until` are applied, after trying for `ingest.apply_ms` at most."""
        if self._clock.monotonic_ms() < self._rest_until_ms:
            return False
        return self._catch_up(until, Deadline.after(self._clock, self._settings.ingest.apply_ms), wait=True) >= until

    def follow(self) -> None:
        """Applies what others appended, or what could not be applied before; unless another worker is at it."""
        self._catch_up(None, Deadline.after(self._clock, _LONGEST_ROUND_MS), wait=False)

    def catch_up(self) -> None:
        """Applies everything now in the log, however long it takes; for the start of a worker."""
        self._catch_up(None, Deadline.never(self._clock), wait=True)

    def lag_events(self) -> int:
        """How many numbers of the log are not applied; looks into the store, which may have lost what it held.

        While the store is out of reach, as far as this worker knows.
        """
        if self._clock.monotonic_ms() >= self._rest_until_ms:
            with suppress(UpnextError):
                self._offset = self._consumer.offset()
        return max(self._event_log.last() - self._offset, 0)

    def close(self) -> None:
        self._consumer.close()

    def _catch_up(self, until: int | None, deadline: Deadline, *, wait: bool) -> int:
        try:
            self._offset = self._consumer.catch_up(until, deadline, wait=wait)
        except Exception as error:  # whatever it is, the events are in the log
            self._rest_until_ms = self._clock.monotonic_ms() + _REST_MS
            if not self._failing:
                trace = None if isinstance(error, UpnextError) else error
                message = "states cannot follow the log (%s); events are kept and applied later"
                _log.error(message, error, exc_info=trace)
            self._failing = True
        else:
            if self._failing:
                _log.warning("states follow the log again")
            self._failing = False
        return self._offset
