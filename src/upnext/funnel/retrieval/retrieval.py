"""Stage one: the whole catalogue to a few hundred candidates, from several sources; recall first."""

import logging
from collections.abc import Callable

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
from upnext.funnel.retrieval.sources import Eligible, Indexes, Lookup
from upnext.settings import RetrievalSettings
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
_MOST_SPARE = 100  # past so many seen and excluded items, they are filtered inside the search instead of after it
_ALL = 1 << 30
_log = logging.getLogger(__name__)

SOURCE_FUNCTIONS: dict[str, Callable[[Lookup, int], Rows]] = {
    "session_vector": sources.session_vector,
    "user_vector": sources.user_vector,
    "covisit": sources.covisit,
    "content": sources.content,
    "popular": sources.popular,
    "trending": sources.trending,
}


class Retrieval:
    """The sources of one release. A source that fails is left out and noted; the request goes on."""

    def __init__(
        self, vectors: ItemVectors, indexes: Indexes, crowd: Crowd, allowed: Mask, settings: RetrievalSettings
    ) -> None:
        """`allowed` (n_items,): which items may leave at all."""
        self._vectors = vectors
        self._indexes = indexes
        self._crowd = crowd
        self._allowed = allowed
        self._eligible = None if allowed.all() else Eligible.of(allowed)
        self._settings = settings
        self._merger = Merger(len(allowed))
        self._plan = [
            (name, SOURCE_BIT[name], int(getattr(settings, name)), float(getattr(settings, f"{name}_weight")), function)
            for name, function in SOURCE_FUNCTIONS.items()
            if getattr(settings, name) > 0
        ]

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

        `seen_rows` are those that `keep` will drop as seen: so many more are looked for. Sources not reached by the
        deadline, or failing, are noted in `answer`.
        """
        look = self._lookup(view, signals, request, seen_rows)
        found: list[tuple[int, float, Rows]] = []
        for name, bit, n, weight, function in self._plan:
            if name == "content" and view.n_interactions >= self._settings.shadow_interactions:
                continue
            if deadline.passed():
                answer.degrade(f"retrieval.{name}", "deadline")
                continue
            try:
                rows = function(look, n)
            except Exception:
                _log.exception("source %s failed; the request goes on without it", name)
                answer.degrade(f"retrieval.{name}", "error")
                continue
            if len(rows):
                found.append((bit, weight, rows))
        return self._kept(self._merger.merge(found, _ALL), keep)

    def _lookup(self, view: UserView, signals: Signals, request: SlateRequest, seen_rows: Rows) -> Lookup:
        eligible, spare = self._eligible, len(seen_rows) + len(request.exclude_rows)
        if request.allowed is not None or spare > _MOST_SPARE:
            mask = self._allowed.copy() if request.allowed is None else self._allowed & request.allowed
            mask[seen_rows] = False
            mask[request.exclude_rows] = False
            eligible, spare = Eligible.of(mask), 0
        return Lookup(view, signals, self._crowd, self._vectors, self._indexes, eligible, spare)

    def _kept(self, merged: Candidates, keep: Callable[[Rows], Mask]) -> Candidates:
        """Filtered after the merge, so that the filter runs once, and cut after the filter."""
        cap, kept = self._settings.candidates, keep(merged.rows)
        if kept.all():
            return Candidates(merged.rows[:cap], merged.scores[:cap], merged.sources[:cap])
        chosen = kept.nonzero()[0][:cap]
        return Candidates(merged.rows.take(chosen), merged.scores.take(chosen), merged.sources.take(chosen))
