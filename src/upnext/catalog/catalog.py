"""The items of a release as arrays by row: who they are, what rules and filters ask of them; no vectors, no counts.

A release keeps spare rows at the end, so that an item posted after it was made is a row like any other.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.catalog.key_index import KeyIndex
from upnext.catalog.labels import MOST_LABELS, Labels
from upnext.catalog.spare import with_spare_rows
from upnext.catalog.strings import StringTable
from upnext.domain.event import Item
from upnext.domain.identity import Keys, key_of, keys_of
from upnext.errors import DataError

UNKNOWN_MS = np.iinfo(np.int64).min  # `published_ms` of an item whose date is not known
_LAST_BIT = 63  # of `genre_bits`; it stands for every genre from the 64th on
Rows = npt.NDArray[np.int32]
# The arrays that have a value for every row, and what it is for a spare one.
SPARE = {
    "keys": 0, "genre": -1, "genre_bits": 0, "unrestricted": False, "published_ms": UNKNOWN_MS, "price": np.nan,
    "available": False, "promoted": False,
}  # fmt: skip


class Catalog:
    """Items by row, 0 … n_items-1; rows mean something inside one release only, keys everywhere.

    Rows from `n_released` on were spare when the release was made; `n_fresh` of them are in use. One thread at a time
    puts and withdraws; others may read meanwhile and see each item as it was before or as it is after.

    keys (n,) uint64 · ids, titles: strings · genre (n,) int16, the primary one, -1 for none · genre_bits (n,) uint64,
    a bit for each of the 63 most frequent, the last for any other · unrestricted (n,) bool: shown in every region ·
    published_ms (n,) int64, UNKNOWN_MS where not known · price (n,) float32, NaN where not known ·
    available (n,) bool: neither unavailable nor blocked, withdrawn or spare · promoted (n,) bool ·
    genres, regions: all names, most frequent first, then those that came later.
    """

    ARRAYS = (
        "keys", "sorted_keys", "sorted_rows", "genre", "genre_bits", "genre_offsets", "genre_rows", "unrestricted",
        "region_offsets", "region_rows", "published_ms", "price", "available", "promoted",
        "id_blob", "id_offsets", "title_blob", "title_offsets",
    )  # fmt: skip

    def __init__(self, arrays: dict[str, npt.NDArray[Any]], names: dict[str, list[str]]) -> None:
        self._arrays = arrays
        self.keys: Keys = arrays["keys"]
        self._sorted_keys: Keys = arrays["sorted_keys"]
        self._sorted_rows: Rows = arrays["sorted_rows"]
        self._released = KeyIndex(self._sorted_keys)
        self.genre: npt.NDArray[np.int16] = arrays["genre"]
        self.genre_bits: npt.NDArray[np.uint64] = arrays["genre_bits"]
        self.unrestricted: npt.NDArray[np.bool_] = arrays["unrestricted"]
        self.published_ms: npt.NDArray[np.int64] = arrays["published_ms"]
        self.price: npt.NDArray[np.float32] = arrays["price"]
        self.available: npt.NDArray[np.bool_] = arrays["available"]
        self.promoted: npt.NDArray[np.bool_] = arrays["promoted"]
        self.ids = StringTable(arrays["id_blob"], arrays["id_offsets"])
        self.titles = StringTable(arrays["title_blob"], arrays["title_offsets"])
        self._by_genre = Labels(names["genres"], arrays["genre_offsets"], arrays["genre_rows"])
        self._by_region = Labels(names["regions"], arrays["region_offsets"], arrays["region_rows"])
        self.genres = self._by_genre.names
        self.regions = self._by_region.names
        self.n_items = len(self.keys)
        self.n_released = len(self._sorted_keys)
        self.n_fresh = 0
        self._fresh: dict[int, int] = {}  # row by key
        self._fresh_sorted = (0, arrays["sorted_keys"][:0], arrays["sorted_rows"][:0])  # of how many, keys, their rows

    @classmethod
    def build(cls, items: Iterable[Item]) -> "Catalog":
        """A catalogue of `items`, rows in their order.

        Raises `DataError` for an id given twice, and for more than 32,767 genres.
        """
        listed = list(items)
        keys = keys_of(item.item_id for item in listed)
        order = np.argsort(keys, kind="stable").astype(np.int32)
        twice = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        if len(twice):
            item_id = listed[order[twice[0]]].item_id
            raise DataError(f"item {item_id!r} is in the catalogue twice; import each item once")
        genres, regions = Labels.of([item.genres for item in listed]), Labels.of([item.regions for item in listed])
        if len(genres.names) > MOST_LABELS:
            raise DataError(
                f"the items have {len(genres.names)} genres, more than {MOST_LABELS}; "
                "give coarser ones, and put the rest into `text` or `attributes`"
            )
        ids, titles = StringTable.of([i.item_id for i in listed]), StringTable.of([i.title for i in listed])
        arrays: dict[str, npt.NDArray[Any]] = {
            "keys": keys,
            "sorted_keys": keys[order],
            "sorted_rows": order,
            "genre": np.array([genres.code(i.genres[0]) if i.genres else -1 for i in listed], np.int16),
            "genre_bits": np.array([_bits(item.genres, genres) for item in listed], np.uint64),
            "genre_offsets": genres.offsets,
            "genre_rows": genres.rows,
            "unrestricted": np.array([not item.regions for item in listed], np.bool_),
            "region_offsets": regions.offsets,
            "region_rows": regions.rows,
            "published_ms": np.array([_published_ms(item) for item in listed], np.int64),
            "price": np.array([_price(item) for item in listed], np.float32),
            "available": np.array([_may_leave(item) for item in listed], np.bool_),
            "promoted": np.array([i.promoted for i in listed], np.bool_),
            "id_blob": ids.blob,
            "id_offsets": ids.offsets,
            "title_blob": titles.blob,
            "title_offsets": titles.offsets,
        }
        return cls(arrays, {"genres": genres.names, "regions": regions.names})

    def save(
        self, add_array: Callable[[str, npt.NDArray[Any]], object], add_json: Callable[[str, Any], object],
        spare: int = 0,
    ) -> None:  # fmt: skip
        """Hands each part to the writer of a release, named `catalog.…`, with so many spare rows at the end."""
        for name in self.ARRAYS:
            array = self._arrays[name]
            if name in SPARE:
                array = with_spare_rows(array, spare, SPARE[name])
            add_array(f"catalog.{name}", array)
        add_json("catalog.names", {"genres": self.genres, "regions": self.regions})

    @classmethod
    def open(
        cls, array: Callable[[str], npt.NDArray[Any]], json: Callable[[str], Any],
        by_row: Callable[[str], npt.NDArray[Any]] | None = None,
    ) -> "Catalog":  # fmt: skip
        """The catalogue over the parts of an opened release, mapped, not copied.

        `by_row` gives what has a value for every row; to put items, it must be writable.
        """
        by_row = by_row or array
        arrays = {name: (by_row if name in SPARE else array)(f"catalog.{name}") for name in cls.ARRAYS}
        return cls(arrays, json("catalog.names"))

    def rows_of(self, keys: Keys) -> Rows:
        """Row of each key, (n,) int32, -1 where this catalogue has no such item."""
        rows = _looked_up(keys, self._released.places_of(keys), self._sorted_keys, self._sorted_rows)
        if not self.n_fresh:
            return rows
        unknown = (rows < 0).nonzero()[0]
        fresh_keys, fresh_rows = self._fresh_by_key()
        rows[unknown] = _looked_up(keys[unknown], fresh_keys.searchsorted(keys[unknown]), fresh_keys, fresh_rows)
        return rows

    def row_of_key(self, key: int) -> int:
        """Row of one key, -1 where this catalogue has no such item."""
        at = int(self._sorted_keys.searchsorted(np.uint64(key)))
        if at < self.n_released and self._sorted_keys[at] == key:
            return int(self._sorted_rows[at])
        return self._fresh.get(key, -1) if self._fresh else -1

    def row_of(self, item_id: str) -> int:
        """Row of one item, -1 where this catalogue has no such item."""
        return self.row_of_key(key_of(item_id))

    def allowed(self, *, genres: Sequence[str] = (), region: str | None = None) -> npt.NDArray[np.bool_]:
        """(n_items,) bool: available, of one of `genres` where any are given, and allowed in `region`.

        A genre that no item has allows none; a region that no item names allows only the unrestricted ones.
        """
        mask = np.array(self.available)
        if genres:
            of_genre = np.zeros(self.n_items, np.bool_)
            self._by_genre.mark(genres, of_genre)
            mask &= of_genre
        if region is not None:
            in_region = np.array(self.unrestricted)
            self._by_region.mark([region], in_region)
            mask &= in_region
        return mask

    def put(self, item: Item) -> int:
        """Makes `item` what it is from now on, in its row or a spare one; the row, -1 where none is spare.

        A new item is found only once its row is whole. An item that may not leave is so before anything else changes,
        one that may again after everything else did.
        """
        key = key_of(item.item_id)
        row = self.row_of_key(key)
        new = row < 0
        if new:
            row = self.n_released + self.n_fresh
            if row >= self.n_items:
                return -1
        may_leave = _may_leave(item)
        if not may_leave:
            self.available[row] = False
        self._describe(row, item)
        if new:
            self.keys[row] = key
            self.ids.put(row, item.item_id)
            self._fresh[key] = row
            self.n_fresh += 1
        if may_leave:
            self.available[row] = True
        return row

    def withdraw(self, item_id: str) -> int:
        """The item may not leave any more, until it is put again; its row, -1 where this catalogue has no such item."""
        row = self.row_of(item_id)
        if row >= 0:
            self.available[row] = False
        return row

    def _describe(self, row: int, item: Item) -> None:
        self.titles.put(row, item.title)
        self._by_genre.put(row, item.genres)
        self.genre[row] = self._by_genre.code(item.genres[0]) if item.genres else -1
        self.genre_bits[row] = _bits(item.genres, self._by_genre)
        if not item.regions:  # between the two, a region that the item was or will be in shall not miss it
            self.unrestricted[row] = True
        self._by_region.put(row, item.regions)
        if item.regions:
            self.unrestricted[row] = False
        self.published_ms[row] = _published_ms(item)
        self.price[row] = _price(item)
        self.promoted[row] = item.promoted

    def _fresh_by_key(self) -> tuple[Keys, Rows]:
        """Keys of the items put into spare rows, sorted, and their rows."""
        n, keys, rows = self._fresh_sorted
        n_fresh = self.n_fresh
        if n != n_fresh:
            keys = self.keys[self.n_released : self.n_released + n_fresh]
            order = np.argsort(keys)
            keys, rows = keys[order], (order + self.n_released).astype(np.int32)
            self._fresh_sorted = (n_fresh, keys, rows)
        return keys, rows


def _looked_up(keys: Keys, at: npt.NDArray[np.intp], sorted_keys: Keys, rows: Rows) -> Rows:
    """The row beside each of `keys`, which stands `at` its place among `sorted_keys` or nowhere; -1 for nowhere."""
    if not len(sorted_keys) or not len(keys):
        return np.full(len(keys), -1, np.int32)
    found = sorted_keys.take(at, mode="clip") == keys
    return np.where(found, rows.take(at, mode="clip"), np.int32(-1))


def _may_leave(item: Item) -> bool:
    return item.available and not item.blocked


def _published_ms(item: Item) -> int:
    return UNKNOWN_MS if item.published_ms is None else item.published_ms


def _price(item: Item) -> float:
    return np.nan if item.price is None else item.price


def _bits(names: tuple[str, ...], labels: Labels) -> int:
    """A label past those that may have a code counts with the others that have no bit of their own."""
    codes = (labels.code(name) for name in names)
    return sum({1 << (min(code, _LAST_BIT) if code >= 0 else _LAST_BIT) for code in codes})
