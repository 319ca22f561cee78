"""What an engine does now and then beside its requests, and in which thread; knows no request."""

import logging
from typing import TYPE_CHECKING

from upnext.clock import Deadline
from upnext.metrics.recorder import Metrics
from upnext.serve.gauges import set_gauges
from upnext.serve.rounds import Round, Rounds
from upnext.state.user_state import remember_encoders

if TYPE_CHECKING:
    from upnext.serve.engine import Engine

_JOIN_EVERY_MS = 1_000.0
_MEASURE_EVERY_MS = 1_000.0
_STORE_EVERY_MS = 50.0
_NOTE_EVERY_MS = 10_000.0
_TRIM_EVERY_MS = 60_000.0
_INDEX_EVERY_MS, _BUILDING_NICENESS = 1_000.0, 10
_LONGEST_ROUND_MS = 200.0  # after which other rounds have their turn
_WAIT_FOR_BUILD_S = 1.0  # at the end: what is being built is of no use any more, and touches nothing that is closed
_log = logging.getLogger(__name__)


class Chores:
    """All chores of one engine, in two threads."""

    def __init__(self, engine: "Engine", metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._rounds = Rounds(self._short(), engine.clock)
        # Building an index takes seconds, which neither requests nor the other rounds have.
        building = Round("indexing posted items", _INDEX_EVERY_MS, self._index)
        self._building = Rounds([building], engine.clock, name="building", niceness=_BUILDING_NICENESS)

    def start(self) -> None:
        self._rounds.start()
        self._building.start()

    def close(self) -> None:
        """Ends both threads, after what they are doing; a build is not waited for."""
        self._rounds.close()
        self._building.close(wait_s=_WAIT_FOR_BUILD_S)

    def measure(self) -> None:
        """Tells operators how the engine stands now."""
        engine = self._engine
        lag_events = engine.applier.lag_events()
        engine.pressure.measure(lag_events)
        set_gauges(engine, self._metrics, lag_events)
        engine.diary.publish()

    def _short(self) -> list[Round]:
        engine, settings = self._engine, self._engine.settings
        return [
            Round("following the log", settings.trends.follow_ms, engine.applier.follow),
            Round("putting back healed vectors", settings.trends.follow_ms, engine.reader.put_back),
            Round("noting encoders", _NOTE_EVERY_MS, self._note_encoders),
            Round("storing shortlists", _STORE_EVERY_MS, engine.ahead.shortlists.write),
            Round("taking in posted items", settings.items.follow_ms, engine.items.follow),
            Round("joining slates to outcomes", _JOIN_EVERY_MS, self._join),
            Round("measuring", _MEASURE_EVERY_MS, self.measure),
            Round("dropping old dead letters", _TRIM_EVERY_MS, engine.dead_letters.trim),
        ]

    def _index(self) -> None:
        if (live := self._engine.live) and live.indexing and live.indexing.work():
            _log.info("the vector indexes hold %d items now", live.funnel.retrieval.n_indexed)

    def _join(self) -> None:
        self._engine.joiner.catch_up(deadline=Deadline.after(self._engine.clock, _LONGEST_ROUND_MS), wait=False)

    def _note_encoders(self) -> None:
        """So that vectors made with this release are found when their user asks for them, or for their end.

        Again and again, since a store may come back empty.
        """
        for encoders in self._engine.encoders_in_force():
            remember_encoders(self._engine.store, encoders, Deadline.never(self._engine.clock))
