"""Items posted, changed, blocked or deleted since a release was made, brought into the release in force.

An item the release does not have moves into one of its spare rows, and is from then on a row like any other.
"""

import logging
import threading
from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from upnext.domain.event import Item
from upnext.domain.identity import key_of
from upnext.features.content_text import ContentText
from upnext.features.item_vectors import ItemVectors
from upnext.funnel.fresh_vectors import FreshVectors
from upnext.funnel.funnel import Funnel
from upnext.funnel.ranking.item_side import ItemSide
from upnext.ingest.records import ItemChange
from upnext.settings import ItemSettings

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_AT_ONCE = 16  # items embedded and taken in together: about a millisecond
_SPACES = ("session", "user", "content")
_log = logging.getLogger(__name__)


class FreshItems:
    """Brings changes of items into one release's funnel, in two steps: what must be so at once, and what takes time.

    Any thread may call; a lock that none holds for long makes one change at a time.
    """

    def __init__(
        self,
        funnel: Funnel,
        text: ContentText | None,
        item_side: ItemSide | None,
        settings: ItemSettings,
        revision: int,
    ) -> None:
        """`revision` is that of the last change which the release was made with.

        All tables of `funnel` must be writable. Without an `item_side` the ranker takes new items for average ones.
        """
        self._funnel = funnel
        self._item_side = item_side
        self._vectors = FreshVectors(
            text, funnel.vectors, funnel.indexes, funnel.catalog.n_released, settings.neighbours
        )
        self._revision = revision
        self._lock = threading.Lock()
        self._coming: dict[int, Item] = {}  # by row: to be embedded, the first to come first
        self._met: set[int] = set()  # fresh rows that have been let in
        self._moved: set[int] = set()  # rows whose vectors came or changed since `settled` was asked
        self._left_out: set[int] = set()  # keys
        self._heeded = revision
        self._withdrawn: dict[str, int] = {}  # items withdrawn before their turn, and by which revision

    @property
    def revision(self) -> int:
        """The last change that holds."""
        return self._revision

    @property
    def heeded(self) -> int:
        """The last change up to which no item leaves that was withdrawn."""
        return max(self._heeded, self._revision)

    @property
    def coming(self) -> int:
        """How many items `take_in` has still to do."""
        return len(self._coming)

    @property
    def waiting(self) -> int:
        """How many items have to wait for the next release, since this one has no row left for them."""
        return len(self._left_out)

    def settled(self) -> tuple[int, set[int]]:
        """The row before which no item waits for its vectors, and the rows that got theirs since the last call."""
        with self._lock:
            moved, self._moved = self._moved, set()
            catalog = self._funnel.catalog
            return min(self._coming, default=catalog.n_released + catalog.n_fresh), moved

    def withdraw(self, changes: Sequence[ItemChange], revision: int) -> None:
        """Makes all withdrawals up to `revision` hold at once: deleted, blocked and unavailable items leave no more.

        Ahead of the other changes, which come by `apply` in their order and may be many. Microseconds per change.
        """
        with self._lock:
            for change in changes:
                if change.revision > self._revision:
                    self._withdrawn[change.item_id] = change.revision
                    self._withdraw(change.item_id, change.item)
            self._heeded = max(self._heeded, revision)
        if changes:
            self._funnel.retrieval.allowed_changed()

    def apply(self, changes: Sequence[ItemChange]) -> None:
        """Makes `changes` hold, which are in the order of their revisions; those applied before are passed over.

        When it returns, no item deleted, blocked or unavailable leaves any more, and the facts of items the release
        has (price, title, genres, regions, …) are the new ones; what their vectors and the ranker's side of them
        hold of it changes with the next release. A new item, and the vectors of one that was, come with `take_in`.
        Microseconds per change.
        """
        for change in changes:
            with self._lock:
                if change.revision <= self._revision:
                    continue
                self._revision = change.revision
                if change.revision < self._withdrawn.get(change.item_id, 0):  # it was read before the withdrawal
                    continue
                self._withdrawn.pop(change.item_id, None)
                if change.item is None or change.item.blocked or not change.item.available:
                    self._withdraw(change.item_id, change.item)
                else:
                    self._put(change.item)
        self._funnel.retrieval.allowed_changed()

    def take_in(self) -> bool:
        """Embeds the next few new items and lets them into slates; whether there are more.

        Milliseconds at most, so that whoever calls again and again lets others run in between.
        """
        with self._lock:
            batch = list(islice(self._coming.items(), _AT_ONCE))
        if not batch:
            return False
        vectors = self._vectors.of([item for _, item in batch])  # what takes long is outside the lock
        with self._lock:
            # An item that has changed again meanwhile is done again, and one that was withdrawn is not let in.
            places = [at for at, (row, item) in enumerate(batch) if self._coming.get(row) is item]
            self._let_in(np.array([batch[at][0] for at in places], np.int32), places, vectors)
            for at in places:
                del self._coming[batch[at][0]]
            return bool(self._coming)

    def _withdraw(self, item_id: str, item: Item | None) -> None:
        funnel, key = self._funnel, key_of(item_id)
        self._left_out.discard(key)
        row = funnel.catalog.row_of_key(key)
        if row < 0:  # nothing that could leave, and not worth a row
            return
        self._coming.pop(row, None)
        funnel.reranker.withdraw(row)
        funnel.catalog.withdraw(item_id)
        if item is not None:
            self._describe(funnel.catalog.put(item))

    def _put(self, item: Item) -> None:
        catalog = self._funnel.catalog
        row = catalog.put(item)
        if row < 0:
            self._leave_out(item.item_id)
            return
        if row >= catalog.n_released:
            self._coming[row] = item
            if row not in self._met:
                return
        self._describe(row)

    def _leave_out(self, item_id: str) -> None:
        if not self._left_out:
            catalog = self._funnel.catalog
            _log.warning(
                "all %d rows that the release keeps for new items are taken; %r and those after it wait for the next "
                "release: train one, or raise items.fresh_rows before",
                catalog.n_items - catalog.n_released, item_id,
            )  # fmt: skip
        self._left_out.add(key_of(item_id))

    def _describe(self, row: int) -> None:
        """What the catalogue says of an item now, in all that keeps a copy of it; its eligibility last."""
        self._funnel.assembler.items_changed(np.array([row], np.int32))
        self._funnel.reranker.item_changed(row)

    def _let_in(self, rows: Rows, places: list[int], vectors: ItemVectors) -> None:
        """Vectors `places` of `vectors` into `rows`; whatever hangs on them, then what makes the items eligible."""
        funnel = self._funnel
        for space in _SPACES:
            table, made = getattr(funnel.vectors, space), getattr(vectors, space)
            if table is not None:
                moved = (table[rows] != made[places].astype(table.dtype)).any(axis=1)
                self._moved.update(rows[moved].tolist())
                table[rows] = made[places]
        funnel.assembler.items_changed(rows)
        if (side := self._item_side) is not None:
            inputs = funnel.assembler.items(funnel.crowd.trends, rows)
            side.table[rows] = side.rows(inputs)
        for row in rows.tolist():
            self._met.add(row)
            funnel.reranker.item_changed(row)
        funnel.retrieval.allowed_changed()
