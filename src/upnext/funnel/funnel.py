"""The way of one request: state, retrieval, ranking, re-ranking, each offering the answer a better ranking.

Runs in one thread from beginning to end. Whoever waits may take what the answer holds at any moment and `finish` it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.clock import Clock, Deadline
from upnext.domain.identity import key_of
from upnext.errors import StoreError
from upnext.features.assemble import Assembler
from upnext.features.item_rows import ItemRows
from upnext.features.item_vectors import ItemVectors
from upnext.features.signals import Signals, looked_at, signals_of
from upnext.features.spec import Chosen
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer, Ranked, RankerInputs, Slate
from upnext.funnel.popular import Popular
from upnext.funnel.ranking.depth import Depths
from upnext.funnel.ranking.ranker import Ranker
from upnext.funnel.request import SlateRequest
from upnext.funnel.reranking.reranker import Reranker, Steps
from upnext.funnel.retrieval.merge import Candidates
from upnext.funnel.retrieval.retrieval import Retrieval
from upnext.funnel.retrieval.sources import Indexes
from upnext.funnel.stages import RANKING, RERANKING, RETRIEVAL, STATE, Breaker, StageCosts, Stages
from upnext.metrics.seldom import Seldom
from upnext.settings import Settings
from upnext.state.context_trends import NOTHING, completed
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_Found = tuple[Signals, Candidates]
_NO_ROWS: Rows = np.empty(0, np.int32)
_FEWEST = 50  # candidates that are ranked at least, however low the quality
_failures = Seldom(logging.getLogger(__name__))


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
        *,
        costs: StageCosts | None = None,
        breakers: Mapping[str, Breaker] | None = None,
        item_rows: ItemRows | None = None,
        chosen: Chosen | None = None,
    ) -> None:
        """Without a `ranker` every answer stops at the fast tier; `costs` and `breakers`: see `Stages`.
        `item_rows`: where tables of `vectors` and `ranker` come from the store; brought before they are used.
        `chosen`: the engineered inputs of `ranker`; None: those of a ranker without a choice.

        Raises `SettingsError` when the ranker lacks the exit that the settings name.
        """
        self.catalog = catalog
        self.vectors = vectors
        self.indexes = indexes
        self.crowd = crowd
        self.ranker = ranker
        self.settings = settings
        self.assembler = Assembler(catalog, vectors, chosen or Chosen())
        self.spec_digest = self.assembler.spec.digest()
        self.reranker = Reranker(catalog, settings.reranking)
        self.retrieval = Retrieval(vectors, indexes, crowd, self.reranker.allowed, settings.retrieval)
        self._item_rows = item_rows
        self._clock = clock
        self._popular = Popular(crowd, _first_rows(self.reranker.allowed, settings.ranking.top))
        self.stages = Stages(costs, breakers)  # may be replaced between requests
        self.depths = Depths(ranker.exits, ranker.default_exit, settings.ranking.exit) if ranker else None

    def popular(self) -> Ranked:
        """What an answer holds before any stage: what the crowd chooses now; where nobody has yet, the catalogue."""
        return self._popular.ranked()

    def run(
        self,
        request: SlateRequest,
        answer: Answer,
        read: Callable[[Deadline], UserView],
        deadline: Deadline,
        at_hand: Callable[[Answer], bool] = lambda answer: False,
    ) -> None:
        """Takes `answer` as far as the deadline allows; at the end `answer.slate` is set.

        `read` gives the user's view, of which a request for no more than the popular tier needs only the seen items;
        when it fails, the request goes on for a user of whom nothing is known. A stage that fails, or does not fit
        into the time that is left, is noted in `answer`, and the slate is made of what the stages before it gave.
        What the request itself forgoes by `most` is not noted.

        `at_hand`, asked once the state is read, may let `answer` hold what was worked out before, and says whether it
        did: then only the rules are left to apply.
        """
        now_ms, timing_ms, stages = self._clock.monotonic_ms, answer.timing_ms, self.stages
        begin_ms = now_ms()
        view = self._view(request, answer, read, deadline)
        state_ms = now_ms()
        timing_ms["state"] = state_ms - begin_ms
        stages.end(answer, state_ms - begin_ms, STATE if answer.state_read else "")
        if answer.state_read and at_hand(answer):
            answer.slate = self.finish(request, answer)
            timing_ms["reranking"] = now_ms() - state_ms
            return
        found = None if request.most == "popular" else self._retrieve(view, request, answer, deadline)
        retrieval_ms = now_ms()
        timing_ms["retrieval"] = retrieval_ms - state_ms
        stages.end(answer, retrieval_ms - state_ms, RETRIEVAL if found else "")
        cost = self._rank(view, request, found, answer, deadline) if request.most == "full" else ""
        ranking_ms = now_ms()
        timing_ms["ranking"] = ranking_ms - retrieval_ms
        stages.end(answer, ranking_ms - retrieval_ms, cost)
        answer.slate = self.finish(request, answer)
        timing_ms["reranking"] = reranking_ms = now_ms() - ranking_ms
        stages.costs.observe(RERANKING, reranking_ms)

    def candidates(
        self, view: UserView, signals: Signals, request: SlateRequest, answer: Answer, deadline: Deadline
    ) -> Candidates:
        """Stage one alone, without what the rules would drop."""
        seen = view.seen_rows if self.settings.reranking.drop_seen else _NO_ROWS

        def keep(rows: Rows) -> npt.NDArray[np.bool_]:
            return self.reranker.keep(rows, request, seen)

        return self.retrieval.candidates(view, signals, request, seen, keep, answer, deadline)

    def found(self, view: UserView, request: SlateRequest, deadline: Deadline) -> list[tuple[int, float, Rows]]:
        """What each source of stage one has for a user, before the merge: see `Retrieval.found`."""
        aside, vectors = Answer(self.popular()), self.vectors
        if vectors.content is not None and not self._brought(looked_at(view), aside, deadline):
            vectors = ItemVectors()
        signals = self.signals(view, request, vectors)
        seen = view.seen_rows if self.settings.reranking.drop_seen else _NO_ROWS
        return self.retrieval.found(view, signals, request, seen, aside, deadline)

    def signals(self, view: UserView, request: SlateRequest, vectors: ItemVectors | None = None) -> Signals:
        """What is known of the user now, under the circumstances that the request tells.

        What it does not tell is as at the user's last event. `vectors`: those to look at; None: all of the release.
        """
        last = self.crowd.context_of(key_of(request.subject)) if request.subject else NOTHING
        context = completed(request.context, last)
        vectors = self.vectors if vectors is None else vectors
        neighbours = self.indexes.neighbours if self.settings.retrieval.neighbours else None
        return signals_of(view, self.catalog, vectors, self.crowd, context, neighbours)

    def score(
        self, view: UserView, signals: Signals, rows: Rows, sources: npt.NDArray[np.uint16],
        fused: Floats | None = None,
    ) -> Floats:  # fmt: skip
        """Stage two alone: (n,) scores of `rows` by the exit in use where no request says more. A ranker must be.

        `fused` (n,): their scores in the merge of retrieval, where they come from there.
        """
        assert self.depths is not None
        return self._scores(self.inputs(view, signals, rows, sources, fused), self.depths.default)

    def inputs(
        self, view: UserView, signals: Signals, rows: Rows, sources: npt.NDArray[np.uint16],
        fused: Floats | None = None,
    ) -> RankerInputs:  # fmt: skip
        """What a ranker is given; arguments as of `score`."""
        cross = self.assembler.cross(view, signals, rows, sources, self.crowd, fused)
        return RankerInputs(rows, self.assembler.user(view, signals, self.crowd), cross)

    def finish(self, request: SlateRequest, answer: Answer) -> Slate:
        """The slate of what the answer holds now: rules applied, topped up. May be called from any thread.

        Empty only where filters and exclusions leave nothing: before that, seen items come back.
        """
        ranked, seen, now_ms = answer.ranked, answer.seen_rows, self._clock.now_ms()  # `ranked` first: see `Answer`
        slate = self.reranker.slate(ranked, request, seen, now_ms, self._below(answer, request, seen))
        if not len(slate.rows) and len(seen):
            slate = self.reranker.slate(ranked, request, _NO_ROWS, now_ms, self._below(answer, request, _NO_ROWS))
        return slate

    def steps(self, request: SlateRequest, answer: Answer) -> Steps:
        """What each rule does to make the slate that `finish` gives now."""
        ranked, seen, now_ms = answer.ranked, answer.seen_rows, self._clock.now_ms()
        steps = self.reranker.steps(ranked, request, seen, now_ms, self._below(answer, request, seen))
        if not len(steps.slate.rows) and len(seen):
            steps = self.reranker.steps(ranked, request, _NO_ROWS, now_ms, self._below(answer, request, _NO_ROWS))
        return steps

    def _below(self, answer: Answer, request: SlateRequest, seen: Rows) -> Iterator[Ranked]:
        """Rankings to top up from, best first: those of the tiers below, then the catalogue as it stands."""
        yield from reversed(answer.below)
        allowed = self.reranker.allowed if request.allowed is None else self.reranker.allowed & request.allowed
        rows = _first_rows(allowed, request.k + len(seen) + len(request.exclude_rows))
        yield Ranked("popular", rows, np.zeros(len(rows), np.float32), np.zeros(len(rows), np.uint16))

    def _view(
        self, request: SlateRequest, answer: Answer, read: Callable[[Deadline], UserView], deadline: Deadline
    ) -> UserView:
        if request.subject is not None and not self.stages.start(STATE, answer):  # nobody's state is not read
            return UserView()
        try:
            view = read(deadline)
        except StoreError:  # whoever reads states tells of it, once rather than in every request
            answer.degrade("state", "error")
            return UserView()
        except Exception as error:
            _failures.exception("users' states could not be read; requests go on without them", error)
            answer.degrade("state", "error")
            return UserView()
        answer.seen_rows = view.seen_rows
        answer.state_read = True
        answer.state_version = view.state_version
        answer.n_interactions = view.n_interactions
        answer.n_moves = view.n_moves
        if view.lags:
            answer.degrade("session", "lags")
        return view

    def _retrieve(self, view: UserView, request: SlateRequest, answer: Answer, deadline: Deadline) -> _Found | None:
        left_ms, costs = deadline.left_ms(), self.stages.costs
        if left_ms <= 0:
            answer.degrade("retrieval", "deadline")
            return None
        if costs.p99_ms(RETRIEVAL) > left_ms - costs.p99_ms(RERANKING):
            costs.skipped(RETRIEVAL)
            answer.degrade("retrieval", "no_time")
            return None
        if not self.stages.start(RETRIEVAL, answer):
            return None
        try:
            vectors = self.vectors
            if vectors.content is not None and not self._brought(looked_at(view), answer, deadline):
                vectors = ItemVectors()  # the text of recent items is left out
            signals = self.signals(view, request, vectors)
            candidates = self.candidates(view, signals, request, answer, deadline)
        except Exception as error:
            _failures.exception("retrieval failed; requests go on with what is popular", error)
            answer.degrade("retrieval", "error")
            return None
        answer.offer(Ranked("fast", candidates.rows, candidates.scores, candidates.sources))
        return signals, candidates

    def _brought(self, rows: Rows, answer: Answer, deadline: Deadline) -> bool:
        """Whether all tables' `rows` are at hand; if not, `answer` says why."""
        if self._item_rows is None:
            return True
        try:
            self._item_rows.bring(rows, deadline)
        except StoreError:  # as with states: whoever reads tells of it
            answer.degrade("items", "deadline" if deadline.passed() else "error")
            return False
        return True

    def _brought_to_rank(self, found: _Found, request: SlateRequest, answer: Answer, deadline: Deadline) -> bool:
        if self._item_rows is None:
            return True
        signals, candidates = found
        wanted = np.append(candidates.rows[: self._n_ranked(request)], signals.recent_rows[: self.assembler.looks_back])
        return self._brought(wanted, answer, deadline)

    def _n_ranked(self, request: SlateRequest) -> int:
        """How many candidates are ranked; those left out are still there to top up from."""
        n = self.settings.retrieval.candidates
        return n if request.quality >= 1.0 else max(int(n * request.quality), _FEWEST, request.k)

    def _scores(self, inputs: RankerInputs, exit_name: str) -> Floats:
        assert self.ranker is not None
        return self.ranker.score(inputs.rows, inputs.user, inputs.cross, exit_name)

    def _rank(
        self, view: UserView, request: SlateRequest, found: _Found | None, answer: Answer, deadline: Deadline
    ) -> str:
        """The name of what it cost; "" when there is no ranking."""
        left_ms, costs = deadline.left_ms(), self.stages.costs
        if left_ms <= 0:
            answer.degrade("ranking", "deadline")
            return ""
        if found is None:
            return ""
        if self.ranker is None or self.depths is None:
            answer.degrade("ranking", "absent")
            return ""
        if not len(found[1].rows):
            return ""
        at = self.depths.choose(request.mode, request.quality, left_ms - costs.p99_ms(RERANKING), costs)
        if at < 0:
            answer.degrade("ranking", "no_time")
            return ""
        if not self._brought_to_rank(found, request, answer, deadline) or not self.stages.start(RANKING, answer):
            return ""
        try:
            self._offer_ranked(view, found, request, self.depths.exits[at], answer)
        except Exception as error:
            _failures.exception("the ranker failed; requests go on in the order of retrieval", error)
            answer.degrade("ranking", "error")
            return ""
        return self.depths.costs[at]

    def _offer_ranked(
        self, view: UserView, found: _Found, request: SlateRequest, exit_name: str, answer: Answer
    ) -> None:
        signals, candidates = found
        n = self._n_ranked(request)
        rows, sources = candidates.rows[:n], candidates.sources[:n]
        inputs = self.inputs(view, signals, rows, sources, candidates.scores[:n])
        scores = self._scores(inputs, exit_name)
        best = best_first(scores)[: self.settings.ranking.top]
        best = best[np.isfinite(scores.take(best))]
        if not len(best):
            raise ValueError("the ranker's scores are not finite")
        if answer.capture:
            answer.inputs = inputs
        answer.exit = exit_name
        answer.offer(Ranked("full", rows[best], scores[best], sources[best]))


def best_first(scores: Floats) -> npt.NDArray[np.intp]:
    """(n,) positions, highest score first, ties by position; NaN ranks below everything."""
    return np.argsort(-scores, kind="stable")


def _first_rows(allowed: npt.NDArray[np.bool_], n: int) -> Rows:
    return np.flatnonzero(allowed)[:n].astype(np.int32)
