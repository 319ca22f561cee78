"""The way of one request: state, retrieval, ranking, re-ranking, each offering the answer a better ranking.

Runs in one thread from beginning to end. Whoever waits may take what the answer holds at any moment and `finish` it.
"""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.clock import Clock, Deadline
from upnext.errors import StoreError
from upnext.features.assemble import Assembler
from upnext.features.item_vectors import ItemVectors
from upnext.features.signals import Signals, signals_of
from upnext.features.spec import SOURCE_BIT
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer, Ranked, RankerInputs, Slate
from upnext.funnel.ranking.ranker import Ranker
from upnext.funnel.request import SlateRequest
from upnext.funnel.reranking.reranker import Reranker
from upnext.funnel.retrieval.merge import Candidates
from upnext.funnel.retrieval.retrieval import Retrieval
from upnext.funnel.retrieval.sources import Indexes
from upnext.settings import Settings
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_NO_ROWS: Rows = np.empty(0, np.int32)
_log = logging.getLogger(__name__)


class Funnel:
    """The three stages over one release."""

    def __init__(
        self,
        catalog: Catalog,
        vectors: ItemVectors,
        indexes: Indexes,
        crowd: Crowd,
        ranker: Ranker | None,
        settings: Settings,
        clock: Clock,
    ) -> None:
        """Without a `ranker` every answer stops at the fast tier."""
        self.catalog = catalog
        self.vectors = vectors
        self.indexes = indexes
        self.crowd = crowd
        self.ranker = ranker
        self.settings = settings
        self.assembler = Assembler(catalog, vectors)
        self.spec_digest = self.assembler.spec.digest()
        self.reranker = Reranker(catalog, settings.reranking)
        self.retrieval = Retrieval(vectors, indexes, crowd, self.reranker.allowed, settings.retrieval)
        self._clock = clock
        self._popular = self._catalogue = _popular(_first_rows(self.reranker.allowed, settings.ranking.top))
        self._exit = settings.ranking.exit or (ranker.default_exit if ranker else "")

    def popular(self) -> Ranked:
        """What an answer holds before any stage: what the crowd chooses now; where nobody has yet, the catalogue."""
        rows, held = self.crowd.trends.popular(), self._popular
        if rows is held.rows:  # the same array until the crowd moves
            return held
        if not len(rows):
            return self._catalogue
        self._popular = held = _popular(rows)
        return held

    def run(
        self, request: SlateRequest, answer: Answer, read: Callable[[Deadline], UserView], deadline: Deadline
    ) -> None:
        """Takes `answer` as far as the deadline allows; at the end `answer.slate` is set.

        `read` gives the user's view; when it fails, the request goes on for a user of whom nothing is known. A stage
        that fails is noted in `answer`, and the slate is made of what the stages before it gave.
        """
        now_ms, timing_ms = self._clock.monotonic_ms, answer.timing_ms
        begin_ms = now_ms()
        view = self._view(answer, read, deadline)
        state_ms = now_ms()
        timing_ms["state"] = state_ms - begin_ms
        found = self._retrieve(view, request, answer, deadline)
        retrieval_ms = now_ms()
        timing_ms["retrieval"] = retrieval_ms - state_ms
        if deadline.passed():
            answer.degrade("ranking", "deadline")
        elif found is not None:
            self._rank(view, *found, answer)
        ranking_ms = now_ms()
        timing_ms["ranking"] = ranking_ms - retrieval_ms
        answer.slate = self.finish(request, answer)
        timing_ms["reranking"] = now_ms() - ranking_ms

    def candidates(
        self, view: UserView, signals: Signals, request: SlateRequest, answer: Answer, deadline: Deadline
    ) -> Candidates:
        """Stage one alone, without what the rules would drop."""
        seen = view.seen_rows if self.settings.reranking.drop_seen else _NO_ROWS

        def keep(rows: Rows) -> npt.NDArray[np.bool_]:
            return self.reranker.keep(rows, request, seen)

        return self.retrieval.candidates(view, signals, request, seen, keep, answer, deadline)

    def score(self, view: UserView, signals: Signals, rows: Rows, sources: npt.NDArray[np.uint8]) -> Floats:
        """Stage two alone: (n,) scores of `rows` by the ranker's exit in use. There must be a ranker."""
        return self._scores(self._inputs(view, signals, rows, sources))

    def finish(self, request: SlateRequest, answer: Answer) -> Slate:
        """The slate of what the answer holds now: rules applied, topped up. May be called from any thread.

        Empty only where filters and exclusions leave nothing: before that, seen items come back.
        """
        ranked, seen, now_ms = answer.ranked, answer.seen_rows, self._clock.now_ms()  # `ranked` first: see `Answer`
        slate = self.reranker.slate(ranked, request, seen, now_ms, self._below(answer, request, seen))
        if not len(slate.rows) and len(seen):
            slate = self.reranker.slate(ranked, request, _NO_ROWS, now_ms, self._below(answer, request, _NO_ROWS))
        return slate

    def _below(self, answer: Answer, request: SlateRequest, seen: Rows) -> Iterator[Ranked]:
        """Rankings to top up from, best first: those of the tiers below, then the catalogue as it stands."""
        yield from reversed(answer.below)
        allowed = self.reranker.allowed if request.allowed is None else self.reranker.allowed & request.allowed
        rows = _first_rows(allowed, request.k + len(seen) + len(request.exclude_rows))
        yield Ranked("popular", rows, np.zeros(len(rows), np.float32), np.zeros(len(rows), np.uint8))

    def _view(self, answer: Answer, read: Callable[[Deadline], UserView], deadline: Deadline) -> UserView:
        try:
            view = read(deadline)
        except StoreError:  # whoever reads states tells of it, once rather than in every request
            answer.degrade("state", "error")
            return UserView()
        except Exception:
            _log.exception("the user's state could not be read; the request goes on without it")
            answer.degrade("state", "error")
            return UserView()
        answer.seen_rows = view.seen_rows
        answer.state_read = True
        answer.state_version = view.state_version
        return view

    def _retrieve(
        self, view: UserView, request: SlateRequest, answer: Answer, deadline: Deadline
    ) -> tuple[Signals, Candidates] | None:
        if deadline.passed():
            answer.degrade("retrieval", "deadline")
            return None
        try:
            signals = signals_of(view, self.catalog, self.vectors, self.crowd.covisits)
            candidates = self.candidates(view, signals, request, answer, deadline)
        except Exception:
            _log.exception("retrieval failed; the request goes on with what is popular")
            answer.degrade("retrieval", "error")
            return None
        answer.offer(Ranked("fast", candidates.rows, candidates.scores, candidates.sources))
        return signals, candidates

    def _inputs(self, view: UserView, signals: Signals, rows: Rows, sources: npt.NDArray[np.uint8]) -> RankerInputs:
        cross = self.assembler.cross(view, signals, rows, sources, self.crowd)
        return RankerInputs(rows, self.assembler.user(view, signals), cross)

    def _scores(self, inputs: RankerInputs) -> Floats:
        assert self.ranker is not None
        return self.ranker.score(inputs.rows, inputs.user, inputs.cross, self._exit)

    def _rank(self, view: UserView, signals: Signals, candidates: Candidates, answer: Answer) -> None:
        if self.ranker is None:
            answer.degrade("ranking", "absent")
            return
        if not len(candidates.rows):
            return
        try:
            inputs = self._inputs(view, signals, candidates.rows, candidates.sources)
            scores = self._scores(inputs)
            best = best_first(scores)[: self.settings.ranking.top]
            best = best[np.isfinite(scores.take(best))]
            if not len(best):
                raise ValueError("the ranker's scores are not finite")
            ranked = Ranked("full", candidates.rows[best], scores[best], candidates.sources[best])
        except Exception:
            _log.exception("the ranker failed; the request goes on in the order of retrieval")
            answer.degrade("ranking", "error")
            return
        if answer.capture:
            answer.inputs = inputs
        answer.offer(ranked)


def best_first(scores: Floats) -> npt.NDArray[np.intp]:
    """(n,) positions, highest score first, ties by position; NaN ranks below everything."""
    return np.argsort(-scores, kind="stable")


def _first_rows(allowed: npt.NDArray[np.bool_], n: int) -> Rows:
    return np.flatnonzero(allowed)[:n].astype(np.int32)


def _popular(rows: Rows) -> Ranked:
    """Scores say nothing but the order."""
    falling = np.linspace(1.0, 0.0, len(rows), endpoint=False, dtype=np.float32)
    return Ranked("popular", rows, falling, np.full(len(rows), SOURCE_BIT["popular"], np.uint8))
