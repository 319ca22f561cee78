"""One worker's parts, opened and wired: stores, log, consumers, the release in force; knows nothing of HTTP."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from upnext.ahead.ahead import Ahead
from upnext.clock import Clock, Deadline
from upnext.contracts.gate import GATE_VERSION
from upnext.domain.identity import Keys
from upnext.errors import ReleaseError, StoreError, UpnextError
from upnext.features.item_rows import item_tier
from upnext.funnel.answer import Answer, Slate
from upnext.funnel.guard import shared_guard
from upnext.funnel.live import Live, open_live
from upnext.funnel.ranking.chunking import measured_chunk
from upnext.funnel.ranking.ranker import GraphRanker
from upnext.funnel.request import SlateRequest
from upnext.funnel.served import served_slate
from upnext.funnel.stage_cost import StageCosts
from upnext.funnel.stages import Stages
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import Selection
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.log_interface import EventLog
from upnext.ingest.recent_log import RecentLog
from upnext.ingest.records import Records
from upnext.ingest.replay import ReplayReport, replay
from upnext.ingest.replay_doors import home_doors
from upnext.ingest.served_consumer import impressions_consumer
from upnext.ingest.served_slates import ServedSlates
from upnext.ingest.served_writer import ServedWriter
from upnext.metrics.diary import Diary, GcPauses
from upnext.metrics.recorder import Metrics
from upnext.metrics.seldom import Seldom
from upnext.release.releases import Releases
from upnext.serve.applier import StateApplier
from upnext.serve.breakers import breakers_of
from upnext.serve.chores import Chores
from upnext.serve.compute import ComputeThread
from upnext.serve.follower import CrowdFollower
from upnext.serve.keys import DEFAULT_TENANT
from upnext.serve.posted_items import PostedItems
from upnext.serve.pressure import Pressure
from upnext.serve.reader import StateReader
from upnext.serve.steering import Steering
from upnext.serve.tenants import store_settings_of
from upnext.serve.warm_up import warm_up
from upnext.serve.writer import EventWriter
from upnext.settings import Settings, StoreSettings
from upnext.state.advance import SessionStepper
from upnext.state.guarded_stepper import GuardedStepper
from upnext.state.people import People
from upnext.state.user_state import UserState, state_key
from upnext.store.interface import Store
from upnext.store.opening import open_store

_NO_KEYS: Keys = np.empty(0, np.uint64)
_log = logging.getLogger(__name__)
_failures = Seldom(_log)


@dataclass(frozen=True)
class InForce:
    """A release that answers, and what keeps its counts of the crowd up to date."""

    live: Live
    follower: CrowdFollower


class Engine:
    """Everything a worker process holds of one tenant. Open it, `start` it inside the event loop, `close` it."""

    def __init__(
        self,
        home: Path,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        *,
        tenant: str = DEFAULT_TENANT,
        guard_file: Path | None = None,
        changes_file: Path | None = None,
        exhausted: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens stores and log under `home`; no release yet.

        `guard_file` and `changes_file`: made by `shared_guard` and `shared_changes` for all workers of a server;
        without one this engine has its own.
        `exhausted` hears when so many threads are lost to models that hang that the worker should be replaced.
        """
        self.settings = settings
        self.clock = clock
        self.tenant = tenant
        self._home = home
        self._metrics = metrics
        self.diary, self.gc_pauses = Diary(clock, metrics.folder, tenant), GcPauses(clock)
        of_tenant = store_settings_of(tenant, settings.store)
        self.store: Store = open_store(home, of_tenant, clock)
        self.breakers = breakers_of(settings, clock, self._told)
        self.reader = StateReader(self.store, clock, self.breakers["store"])
        self.event_log: EventLog = RecentLog(LmdbEventLog(home / "log"))
        self.records = Records(home / "records")
        self.items = PostedItems(self.records, lambda: self.live)
        self.dead_letters = DeadLetters(home / "deadletters", settings.dead_letters, clock)
        budget = settings.budget
        self.compute = ComputeThread(clock, budget.hard_stop_ms, budget.most_lost, lambda lost: exhausted())
        self.ahead = self._made_ahead(of_tenant, changes_file)
        impressions = settings.impressions
        self.served = ServedSlates(home / "served", impressions, clock, max_bytes=impressions.max_bytes)
        self.served_writer = ServedWriter(self.served, impressions.queue_slates)
        changed = self.ahead.changes.mark
        self.people = People(
            self.event_log, self.store, self.records, self.dead_letters, self.served, self.encoders_in_force, changed
        )
        with nullcontext(guard_file) if guard_file else shared_guard() as guard:
            self.steering = Steering(settings, clock, guard, tenant)
        self.pressure = Pressure(home, settings.ingest)
        locks = home / "consumers"
        self.applier = StateApplier(self.event_log, self.store, locks, settings, clock, self._stepper, changed)
        self.joiner = impressions_consumer(self.event_log, self.served, locks, clock)
        self.writer = EventWriter(self.event_log, self.dead_letters.append, self.applier.apply, settings.ingest)
        self._releases = Releases(home)
        self.in_force: InForce | None = None
        self._swapping = threading.Lock()
        self._closing = False
        self._watching: asyncio.Task[None] | None = None
        self._chores = Chores(self, metrics)

    @property
    def live(self) -> Live | None:
        """The release in force; None until the first one is warm."""
        return self.in_force.live if self.in_force else None

    @property
    def releases(self) -> Releases:
        """All releases of this tenant."""
        return self._releases

    def has_release(self) -> bool:
        """Whether a release is active, in force yet or not."""
        return self._releases.active_id() is not None

    def encoders_in_force(self) -> list[str]:
        """Names of the encoders whose vectors are served."""
        stepper = self._stepper()
        return [stepper.encoders] if stepper else []

    def open_release(self) -> None:
        """Opens, catches up and warms the active release, then puts it in force; the one before serves until then.

        Raises `ReleaseError`, leaving the one before in force.
        """
        with self._swapping:
            if not self._closing:
                self._open_release()

    async def start(self) -> None:
        """States catch up with the log; then follows it, and watches for another release being activated."""
        await asyncio.get_running_loop().run_in_executor(None, self.applier.catch_up)
        self.served_writer.start()
        self.gc_pauses.start()
        self._chores.start()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Writes what was accepted, stops all threads, closes stores and log."""
        self._closing = True
        if self._watching:
            self._watching.cancel()
        # A release that is just being opened still reads the log.
        await asyncio.get_running_loop().run_in_executor(None, self._swapping.acquire)
        if self.in_force:
            self.in_force.follower.close()
        self._chores.close()
        self.gc_pauses.stop()
        self.writer.close()
        self.served_writer.close()
        self.compute.close()
        self.steering.close()
        self.ahead.close()
        self.applier.close()
        self.joiner.close()
        for part in (self.served, self.dead_letters, self.records, self.event_log, self.store):
            part.close()

    def answer(self, live: Live, request: SlateRequest, answer: Answer, deadline: Deadline) -> None:
        """Takes one answer through the funnel, unless the store holds a shortlist; for the compute thread.

        In a store of this machine it was looked for already: see `Shortlists.find`.
        """
        shortlists = self.ahead.shortlists
        beside = {} if shortlists.local else shortlists.beside(request.subject)
        live.funnel.run(
            request,
            answer,
            lambda until: self.reader.view(live, request.subject, until, beside),
            deadline,
            lambda answer: shortlists.take_beside(live, request, answer, beside),
        )

    def finish(self, live: Live, request: SlateRequest, answer: Answer) -> Slate:
        """The slate of what the answer holds at its deadline.

        Rules hold at every tier: where the state was not reached, what the user has seen is read now; but not from
        another machine, which nobody has time to wait for any more.
        """
        if not answer.state_read and request.subject is not None:
            seen = live.funnel.catalog.rows_of(self.seen_keys(request, answer))
            answer.seen_rows = seen[seen >= 0]
        return live.funnel.finish(request, answer)

    def seen_keys(self, request: SlateRequest, answer: Answer) -> Keys:
        """(n,) sorted: what the request's user has seen, read now; but not from another machine, see `finish`."""
        if request.subject is None:
            return _NO_KEYS
        if self.settings.store.url:
            answer.degrade("seen", "deadline")
            return _NO_KEYS
        try:
            raw = self.store.get_many([state_key(request.subject)], Deadline.never(self.clock))[0]
            return UserState.unpack(raw).seen
        except StoreError as error:
            _failures.exception("what users have seen could not be read; slates may repeat it", error)
            return _NO_KEYS

    def keep_slate(
        self, live: Live, request: SlateRequest, answer: Answer, slate: Slate, request_id: str, item_ids: list[str]
    ) -> None:
        """Queues what was served to be kept, to learn from. Never blocks."""
        self.served_writer.offer(
            served_slate(
                request,
                answer,
                slate,
                live.funnel,
                request_id=request_id,
                served_ms=self.clock.now_ms(),
                release=live.release_id,
                item_ids=item_ids,
            )
        )

    def replay(self, selection: Selection) -> ReplayReport:
        """Sends dead letters through the gate again; what it lets pass is durable and applied when this returns."""
        doors = home_doors(self.event_log.append, self.items.put, self.records.put_users, tenant=self.tenant)
        report = replay(self.dead_letters, selection, doors, now_ms=self.clock.now_ms(), gate=GATE_VERSION)
        self.applier.catch_up()
        return report

    def _open_release(self) -> None:
        release = self._releases.open_active()
        tier = item_tier(self.store, self.settings.items)
        live = open_live(release, self.settings, self.clock, tier=tier)
        if isinstance(ranker := live.funnel.ranker, GraphRanker) and tier is None:  # else it would be the store's time
            n, most = self.settings.retrieval.candidates, self.settings.ranking.chunk
            live.funnel.ranker = ranker.with_chunk(measured_chunk(ranker, n, most=most))
        if live.stepper:
            live = replace(live, steps=GuardedStepper(live.stepper, self.breakers["session_model"], self.clock))
        live.funnel.stages = Stages(StageCosts(self.settings.pressure), self.breakers)
        self.items.bring_up_to_date(live)  # before the crowd, which counts only items that have a row
        follower = CrowdFollower(live, self.event_log, self._home / "crowd", self.settings.trends, self.clock)
        follower.catch_up()
        warm_up(live, self.event_log, partial(self.answer, live), self.clock)
        before, self.in_force = self.in_force, InForce(live, follower)
        follower.start()
        self._chores.measure()
        if before:
            before.follower.close()
        _log.info("release %s is in force", live.release_id)

    def _made_ahead(self, store_settings: StoreSettings, changes_file: Path | None) -> Ahead:
        return Ahead(
            self.store,
            store_settings,
            self.settings.ahead,
            self.clock,
            tenant=self.tenant,
            changes_file=changes_file,
            live=lambda: self.live,
            view=self.reader.view,
            offer=self.compute.offer,
            most_ms=self.settings.budget.full_ms,
        )

    def _told(self, name: str, before: str, after: str) -> None:
        _log.warning("the breaker around %s was %s and is %s", name, before, after)
        self._metrics.count_breaker(name, after)

    def _stepper(self) -> SessionStepper | None:
        """For the thread that applies events: requests find out whether a session encoder that hung is well again."""
        steps = self.in_force.live.steps if self.in_force else None
        return steps.never_probing() if isinstance(steps, GuardedStepper) else steps

    async def _share_guard(self) -> None:
        """With the other machines on the same store, where it is one that others can reach."""
        if (live := self.live) and self.settings.store.url:
            with suppress(StoreError):
                await self.steering.share_guard(self.store, live.funnel.catalog.regions)

    async def _watch(self) -> None:
        watcher = self._releases.watcher()
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.settings.serve.release_poll_ms / 1_000)
            await self._share_guard()
            self.ahead.shortlists.sweep()
            if watcher.changed() is None:
                continue
            try:
                await loop.run_in_executor(None, self.open_release)
            except ReleaseError:
                _log.exception("the activated release cannot be opened; the one before goes on serving")
            except UpnextError:
                _log.exception("the activated release cannot be put in force; the one before goes on serving")
