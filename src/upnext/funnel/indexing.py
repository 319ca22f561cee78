"""Posted items moved from those looked at one by one into the vector indexes, which are built beside the requests."""

from upnext.funnel.fresh import FreshItems
from upnext.funnel.funnel import Funnel
from upnext.funnel.retrieval.sources import Indexes
from upnext.index.growing import grown
from upnext.index.interface import VectorIndex
from upnext.settings import ItemSettings

_SPACES = ("session", "user", "content")
_REBUILT_AFTER = 0.1  # growth since the last build past which lists and codes that older rows taught fit too badly
_KEPT_OUT = 0.5  # share of `items.index_after`, the newest, that is still looked at one by one


class Indexing:
    """The indexes of one release in force. `work` is for one thread; requests go on with what was there before."""

    def __init__(self, funnel: Funnel, fresh: FreshItems, settings: ItemSettings) -> None:
        """`funnel` must have its vectors as arrays."""
        self._funnel = funnel
        self._fresh = fresh
        self._after = settings.index_after
        self._kept_out = int(_KEPT_OUT * settings.index_after)
        self._n_built = funnel.catalog.n_released
        self._changed: set[int] = set()

    def work(self) -> bool:
        """Puts larger indexes in force when enough items have come since the last time; whether it did.

        Rows are added to what there is; all is built anew, in the same kinds, when the indexes have grown by a tenth,
        or when the vectors of items in them have changed. It takes as long as that takes: keep it off the requests.
        """
        if not self._after:
            return False
        settled, changed = self._fresh.settled()
        self._changed |= changed
        n_indexed = self._funnel.retrieval.n_indexed
        stale = any(row < n_indexed for row in self._changed)
        if settled - n_indexed < self._after and not stale:
            return False
        n_items = max(n_indexed, settled - self._kept_out)
        anew = stale or n_items > (1.0 + _REBUILT_AFTER) * self._n_built
        self._funnel.retrieval.put_indexes(self._made(n_items, anew=anew))
        self._changed = {row for row in self._changed if row >= n_items}
        if anew:
            self._n_built = n_items
        return True

    def _made(self, n_items: int, *, anew: bool) -> Indexes:
        before, vectors = self._funnel.retrieval.indexes, self._funnel.vectors
        made: dict[str, VectorIndex] = {}
        for space in _SPACES:
            table, index = getattr(vectors, space), getattr(before, space)
            if index is not None:
                made[space] = grown(index, table[:n_items], anew=anew)
        return Indexes(made.get("session"), made.get("user"), made.get("content"), before.neighbours)
