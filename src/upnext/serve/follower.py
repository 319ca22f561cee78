"""Keeps one release's crowd up to date with the event log, whichever worker took the events."""

import logging
import threading

from upnext.domain.event import INTERACTIONS, Event
from upnext.domain.identity import key_of, subject_of
from upnext.errors import UpnextError
from upnext.funnel.live import Live
from upnext.ingest.log_interface import EventLog

_BATCH = 2_000
_log = logging.getLogger(__name__)


class CrowdFollower:
    """Reads the log from where the release left off, and goes on in a thread of its own."""

    def __init__(self, live: Live, event_log: EventLog, follow_ms: int) -> None:
        self._live = live
        self._event_log = event_log
        self._follow_ms = follow_ms
        self._sequence = live.log_sequence
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="crowd-follower", daemon=True)

    @property
    def sequence(self) -> int:
        """The last event that the crowd has counted."""
        return self._sequence

    def catch_up(self) -> None:
        """Counts everything now in the log. To be called before `start`, or in place of it."""
        while events := self._event_log.read(self._sequence, _BATCH):
            for sequence, event in events:
                self._observe(event)
                self._sequence = sequence
        self._live.funnel.popular()  # sorts what is popular here rather than in a request

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stops following; the crowd stays as it is."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _work(self) -> None:
        while not self._stopping.wait(self._follow_ms / 1_000):
            try:
                self.catch_up()
            except UpnextError:
                _log.exception("the event log could not be followed; trying again")

    def _observe(self, event: Event) -> None:
        if event.item_id is None or event.action not in INTERACTIONS or not event.consent:
            return
        subject = subject_of(event.user_id, event.session_id)
        row = self._live.funnel.catalog.row_of(event.item_id)
        if subject is not None and row >= 0:
            session = key_of(event.session_id) if event.session_id else 0
            self._live.funnel.crowd.observe(key_of(subject), session, row, event.timestamp_ms)
