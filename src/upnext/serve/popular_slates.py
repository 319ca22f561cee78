"""What is popular, ready for the wire, for requests that there is no time to do more for; knows no user's state."""

from dataclasses import dataclass

import numpy as np

from upnext.domain.identity import Keys
from upnext.funnel.answer import Answer, Ranked
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.serve.prepared import Prepared, prepared_of

_MOST_KINDS = 64  # of requests: by number of items, region and filter


@dataclass(slots=True, frozen=True)
class PopularSlate:
    """A slate, and what it is made of."""

    ranked: Ranked
    prepared: Prepared
    keys: Keys  # of the items that the rules looked at, best first

    def suits(self, seen: Keys) -> bool:
        """Whether it is the slate also of one who has seen what is in `seen` (n,), sorted: none of it is near."""
        if not len(seen):
            return True
        found = seen.take(seen.searchsorted(self.keys), mode="clip")
        return not np.count_nonzero(found == self.keys)


class PopularSlates:
    """One for each kind of request, made anew when the crowd or an item changes. For the thread of the event loop."""

    def __init__(self) -> None:
        self._slates: dict[tuple[int, str, tuple[str, ...]], PopularSlate] = {}
        self._release = ""  # that they are made of

    def of(self, live: Live, request: SlateRequest, now_ms: int) -> PopularSlate | None:
        """That for a request which excludes nothing, as if nothing were seen; None where too little is popular."""
        if live.release_id != self._release or len(self._slates) >= _MOST_KINDS:
            self._slates.clear()
            self._release = live.release_id
        kind = (request.k, request.region, request.genres)
        slate, ranked = self._slates.get(kind), live.funnel.popular()
        if slate and slate.ranked is ranked and slate.prepared.serves(request, live, now_ms):
            return slate
        reranker = live.funnel.reranker
        answer = Answer(ranked)
        prepared = prepared_of(request, answer, live, now_ms)
        if prepared is None:
            return None
        kept = ranked.rows[reranker.keep(ranked.rows, request, ranked.rows[:0])]
        near = kept[: reranker.reach(request.k)]
        slate = self._slates[kind] = PopularSlate(ranked, prepared, live.funnel.catalog.keys.take(near))
        return slate
