"""Keeps one release's crowd up to date with the event log, whichever worker took the events."""

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from upnext.clock import Clock
from upnext.domain.event import INTERACTIONS, Event
from upnext.domain.identity import key_of, keys_of, subject_of
from upnext.errors import UpnextError
from upnext.funnel.live import Live
from upnext.ingest.log_interface import EventLog
from upnext.settings import TrendSettings
from upnext.state.crowd_snapshot import age_s, load_snapshot, write_snapshot

_BATCH = 2_000
_log = logging.getLogger(__name__)


class CrowdFollower:
    """Reads the log from where the release, or a snapshot since, left off, and goes on in a thread of its own.

    Now and then one of the workers leaves a snapshot, so that the next to start has little to catch up with.
    """

    def __init__(self, live: Live, event_log: EventLog, folder: Path, settings: TrendSettings, clock: Clock) -> None:
        """`folder` is where snapshots are kept."""
        self._live = live
        self._event_log = event_log
        self._folder = folder
        self._settings = settings
        self._clock = clock
        catalog, crowd = live.funnel.catalog, live.funnel.crowd
        between = live.log_sequence, event_log.last()
        self._sequence = load_snapshot(folder, live.release_id, between, crowd, catalog.n_released, catalog.rows_of)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="crowd-follower", daemon=True)

    @property
    def sequence(self) -> int:
        """The last event that the crowd has counted."""
        return self._sequence

    def catch_up(self) -> None:
        """Counts everything now in the log. To be called before `start`, or in place of it."""
        while events := self._event_log.read(self._sequence, _BATCH):
            self._observe(events)
            self._sequence = events[-1][0]
        self._live.funnel.popular()  # sorts what is popular here rather than in a request

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stops following and leaves a snapshot; the crowd stays as it is."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
            with suppress(OSError):  # then the next worker counts more itself
                self.keep_snapshot()

    def keep_snapshot(self) -> None:
        """Leaves a snapshot of what was counted since the release was made."""
        if self._sequence > self._live.log_sequence:
            catalog, crowd = self._live.funnel.catalog, self._live.funnel.crowd
            fresh_keys = catalog.keys[catalog.n_released : catalog.n_released + catalog.n_fresh]
            write_snapshot(self._folder, self._live.release_id, self._sequence, crowd, fresh_keys)

    def _work(self) -> None:
        while not self._stopping.wait(self._settings.follow_ms / 1_000):
            try:
                self.catch_up()
                if age_s(self._folder, self._clock.now_ms() / 1e3) * 1e3 >= self._settings.snapshot_ms:
                    self.keep_snapshot()
            except (UpnextError, OSError):
                _log.exception("the event log could not be followed; trying again")

    def _observe(self, events: Sequence[tuple[int, Event]]) -> None:
        chosen = [
            event for _, event in events if event.item_id is not None and event.action in INTERACTIONS and event.consent
        ]
        if not chosen:
            return
        rows = self._live.funnel.catalog.rows_of(keys_of(event.item_id or "" for event in chosen))
        interactions = []
        for event, row in zip(chosen, rows.tolist(), strict=True):
            subject = subject_of(event.user_id, event.session_id)
            if subject is not None and row >= 0:
                session = key_of(event.session_id) if event.session_id else 0
                context = self._live.funnel.crowd.contexts.context_of(event.context)
                interactions.append((key_of(subject), session, row, event.timestamp_ms, context))
        self._live.funnel.crowd.observe_batch(interactions)
