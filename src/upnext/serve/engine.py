"""One worker's parts, opened and wired: store, log, the release in force and its swap; knows nothing of HTTP."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from upnext.clock import Clock, Deadline
from upnext.domain.event import Event
from upnext.errors import ReleaseError, StoreError, UpnextError
from upnext.funnel.answer import Answer, Slate
from upnext.funnel.live import Live, open_live
from upnext.funnel.request import SlateRequest
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.log_interface import EventLog
from upnext.release.releases import Releases
from upnext.serve.compute import ComputeThread
from upnext.serve.follower import CrowdFollower
from upnext.serve.writer import EventWriter
from upnext.settings import Settings
from upnext.state.apply import apply_events
from upnext.store.interface import Store
from upnext.store.lmdb_store import LmdbStore

_WARM_UP_ROUNDS = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _InForce:
    live: Live
    follower: CrowdFollower


class Engine:
    """Everything a worker process holds. Open it, `start` it inside the event loop, `close` it."""

    def __init__(
        self, home: Path, settings: Settings, clock: Clock, tell: Callable[[Live], None] = lambda live: None
    ) -> None:
        """Opens store and log under `home`; no release yet. `tell` hears of every release put in force."""
        self.settings = settings
        self.clock = clock
        self.store: Store = LmdbStore(home / "state", clock)
        self.event_log: EventLog = LmdbEventLog(home / "log")
        self.compute = ComputeThread()
        self.writer = EventWriter(self.event_log, self._apply)
        self._releases = Releases(home)
        self._in_force: _InForce | None = None
        self._watching: asyncio.Task[None] | None = None
        self._tell = tell

    @property
    def live(self) -> Live | None:
        """The release in force; None until the first one is warm."""
        return self._in_force.live if self._in_force else None

    def open_release(self) -> None:
        """Opens, catches up and warms the active release, then puts it in force; the one before serves until then.

        Raises `ReleaseError`, leaving the one before in force.
        """
        release = self._releases.open_active()
        live = open_live(release, self.settings, self.clock)
        follower = CrowdFollower(live, self.event_log, self.settings.trends.follow_ms)
        follower.catch_up()
        self._warm_up(live)
        before, self._in_force = self._in_force, _InForce(live, follower)
        follower.start()
        self._tell(live)
        if before:
            before.follower.close()
        _log.info("release %s is in force", live.release_id)

    async def start(self) -> None:
        """Goes on to watch for another release being activated."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Writes what was accepted, stops all threads, closes store and log."""
        if self._watching:
            self._watching.cancel()
        if self._in_force:
            self._in_force.follower.close()
        self.writer.close()
        self.compute.close()
        self.event_log.close()
        self.store.close()

    def answer(self, live: Live, request: SlateRequest, answer: Answer, deadline: Deadline) -> None:
        """Takes one answer through the funnel; for the compute thread."""
        live.funnel.run(request, answer, lambda until: live.view(request.subject, self.store, until), deadline)

    def finish(self, live: Live, request: SlateRequest, answer: Answer) -> Slate:
        """The slate of what the answer holds at its deadline.

        Rules hold at every tier: where the state was not reached, what the user has seen is read now.
        """
        if not answer.state_read and request.subject is not None:
            try:
                answer.seen_rows = live.seen_rows(request.subject, self.store, Deadline.never(self.clock))
            except StoreError:
                _log.exception("the user's seen items could not be read; the slate may repeat them")
        return live.funnel.finish(request, answer)

    def _apply(self, events: Sequence[Event]) -> None:
        stepper = self._in_force.live.stepper if self._in_force else None
        apply_events(events, self.store, stepper, self.settings.state, Deadline.never(self.clock))

    def _warm_up(self, live: Live) -> None:
        """Recorded subjects through the whole funnel, so that no first request pays for cold caches and lazy set-up."""
        subjects: Sequence[str | None] = live.warm_up or (None,)
        for turn in range(_WARM_UP_ROUNDS):
            request = SlateRequest(subject=subjects[turn % len(subjects)], k=20)
            self.answer(live, request, Answer(live.funnel.popular()), Deadline.never(self.clock))

    async def _watch(self) -> None:
        watcher = self._releases.watcher()
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.settings.serve.release_poll_ms / 1_000)
            if watcher.changed() is None:
                continue
            try:
                await loop.run_in_executor(None, self.open_release)
            except ReleaseError:
                _log.exception("the activated release cannot be opened; the one before goes on serving")
            except UpnextError:
                _log.exception("the activated release cannot be put in force; the one before goes on serving")
