"""Stage one: the whole catalogue to a few hundred candidates, from several sources; recall first."""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from upnext.clock import Deadline
from upnext.features.item_vectors import ItemVectors
from upnext.features.signals import Signals
from upnext.features.spec import SOURCE_BIT
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer
from upnext.funnel.request import SlateRequest
from upnext.funnel.retrieval import sources
from upnext.funnel.retrieval.merge import Candidates, Merger
from upnext.funnel.retrieval.similar import similar_rows
from upnext.funnel.retrieval.sources import Eligible, Indexes, Lookup
from upnext.metrics.seldom import Seldom
from upnext.settings import RetrievalSettings
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class _Open(NamedTuple):
    """What any request may be answered with, of one state of the indexes."""

    indexes: Indexes
    n_indexed: int
    eligible: Eligible | None
    n_withdrawn: int  # so many more to fetch from an index
    fresh_rows: Rows  # in no index


_MOST_SPARE = 200  # past so many seen and excluded items, they are filtered inside the search instead of after it
# Past so many items of the indexes that may not leave, a search leaves them out itself, which makes every search
# slower; up to here so many more are fetched, which keeps recall even where all of them are near.
_MOST_WITHDRAWN = 100
_ALL = 1 << 30
_FEWEST = 50  # that a source is asked for, however low the quality
_NO_ROWS: Rows = np.empty(0, np.int32)
_failures = Seldom(logging.getLogger(__name__))

SOURCE_FUNCTIONS: dict[str, Callable[[Lookup, int], Rows]] = {
    "session_vector": sources.session_vector,
    "user_vector": sources.user_vector,
    "covisit": sources.covisit,
    "session_knn": sources.session_knn,
    "neighbours": sources.neighbours,
    "content": sources.content,
    "context": sources.context,
    "popular": sources.popular,
    "trending": sources.trending,
    "fresh": sources.fresh,
}


class Retrieval:
    """The sources of one release. A source that fails is left out and noted; the request goes on."""

    def __init__(
        self, vectors: ItemVectors, indexes: Indexes, crowd: Crowd, allowed: Mask, settings: RetrievalSettings
    ) -> None:
        """`allowed` (n_items,): which items may leave at all; when it changes, tell `allowed_changed`.

        Those past the ones in the indexes are fresh: looked at one by one.
        """
        self._vectors = vectors
        self._indexes = indexes
        self._crowd = crowd
        self._allowed = allowed
        self._open = self._opened()
        self._stale = False
        self._settings = settings
        self._merger = Merger(len(allowed))
        self._plan = [
            (name, SOURCE_BIT[name], int(getattr(settings, name)), float(getattr(settings, f"{name}_weight")), function)
            for name, function in SOURCE_FUNCTIONS.items()
            if getattr(settings, name) > 0
        ]

    @property
    def indexes(self) -> Indexes:
        """Those in force."""
        return self._indexes

    @property
    def n_indexed(self) -> int:
        """How many items, the first ones, they hold."""
        return _n_indexed(self._indexes, len(self._allowed))

    def put_indexes(self, indexes: Indexes) -> None:
        """Other indexes from the next request on: over as many items in each space, no fewer than before."""
        self._indexes = indexes
        self._stale = True

    def allowed_changed(self) -> None:
        """The next request sees which items may leave now. Until then none leaves that may not: see `keep`."""
        self._stale = True

    def similar(self, row: int, n: int, request: SlateRequest | None = None) -> tuple[Rows, Floats] | None:
        """The (≤ n,) items most like that of `row`, best first, and how like; of those that `request` allows.

        None when nothing is known of the item.
        """
        request = request or SlateRequest(subject=None, k=n)
        now, eligible, spare = self._eligible_for(request, _NO_ROWS)
        return similar_rows(row, n, self._vectors, now.indexes, eligible, spare, now.fresh_rows)

    def candidates(
        self,
        view: UserView,
        signals: Signals,
        request: SlateRequest,
        seen_rows: Rows,
        keep: Callable[[Rows], Mask],
        answer: Answer,
        deadline: Deadline,
    ) -> Candidates:
        """The best candidates that `keep` lets through, at most as many as the settings say.

        At a lower `request.quality` sources are asked for less. `seen_rows` are those that `keep` will drop as seen: so
        many more are looked for. Sources not reached by the deadline, or failing, are noted in `answer`.
        """
        found = self.found(view, signals, request, seen_rows, answer, deadline)
        return self._kept(self.merged(found), keep)

    def merged(self, found: list[tuple[int, float, Rows]]) -> Candidates:
        """All that the sources `found`, best fused score first, before anything is left out."""
        return self._merger.merge(found, _ALL)

    def found(
        self,
        view: UserView,
        signals: Signals,
        request: SlateRequest,
        seen_rows: Rows,
        answer: Answer,
        deadline: Deadline,
    ) -> list[tuple[int, float, Rows]]:
        """What each source has, before the merge: its bit, its weight, distinct rows best first."""
        look = self._lookup(view, signals, request, seen_rows)
        quality = request.quality
        found: list[tuple[int, float, Rows]] = []
        for name, bit, n, weight, function in self._plan:
            if name == "content" and view.n_interactions >= self._settings.shadow_interactions:
                continue
            if deadline.passed():
                answer.degrade(f"retrieval.{name}", "deadline")
                continue
            try:
                rows = function(look, n if quality >= 1.0 else max(int(n * quality), min(n, _FEWEST)))
            except Exception as error:
                _failures.exception(f"source {name} failed; requests go on without it", error)
                answer.degrade(f"retrieval.{name}", "error")
                continue
            if len(rows):
                found.append((bit, weight, rows))
        return found

    def _lookup(self, view: UserView, signals: Signals, request: SlateRequest, seen_rows: Rows) -> Lookup:
        now, eligible, spare = self._eligible_for(request, seen_rows)
        return Lookup(view, signals, self._crowd, self._vectors, now.indexes, eligible, spare, now.fresh_rows)

    def _eligible_for(self, request: SlateRequest, seen_rows: Rows) -> tuple[_Open, Eligible | None, int]:
        """What any request finds now, what sources may return, and how many more they fetch for those dropped."""
        if self._stale:
            self._stale = False  # before the look: a change meanwhile is looked at next time
            self._open = self._opened()
        now = self._open
        spare = len(seen_rows) + len(request.exclude_rows)
        if request.allowed is None and spare <= _MOST_SPARE:
            return now, now.eligible, spare + now.n_withdrawn
        mask = self._allowed.copy() if request.allowed is None else self._allowed & request.allowed
        mask[seen_rows.astype(np.intp)] = False  # three times as quick by that type
        mask[request.exclude_rows] = False
        return now, Eligible.of(mask, now.n_indexed), 0

    def _opened(self) -> _Open:
        allowed, indexes = self._allowed, self._indexes
        n_indexed = _n_indexed(indexes, len(allowed))
        fresh_rows = (n_indexed + allowed[n_indexed:].nonzero()[0]).astype(np.int32)
        n_withdrawn = n_indexed - int(np.count_nonzero(allowed[:n_indexed]))
        if not n_withdrawn:
            return _Open(indexes, n_indexed, None, 0, fresh_rows)
        if n_withdrawn <= _MOST_WITHDRAWN:
            return _Open(indexes, n_indexed, Eligible(allowed, None), n_withdrawn, fresh_rows)
        return _Open(indexes, n_indexed, Eligible.of(allowed, n_indexed), 0, fresh_rows)

    def _kept(self, merged: Candidates, keep: Callable[[Rows], Mask]) -> Candidates:
        """Filtered after the merge, so that the filter runs once, and cut after the filter."""
        cap, kept = self._settings.candidates, keep(merged.rows)
        if kept.all():
            return Candidates(merged.rows[:cap], merged.scores[:cap], merged.sources[:cap])
        chosen = kept.nonzero()[0][:cap]
        return Candidates(merged.rows.take(chosen), merged.scores.take(chosen), merged.sources.take(chosen))


def _n_indexed(indexes: Indexes, n_items: int) -> int:
    """Items in every index; all where there is none."""
    known = [index.n_items for index in (indexes.session, indexes.user, indexes.content) if index is not None]
    return min(known, default=n_items)
