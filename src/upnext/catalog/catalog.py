"""The items of a release as arrays by row: who they are, what rules and filters ask of them; no vectors, no counts."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.catalog.labels import Labels
from upnext.catalog.strings import StringTable
from upnext.domain.event import Item
from upnext.domain.identity import Keys, key_of, keys_of
from upnext.errors import DataError

UNKNOWN_MS = np.iinfo(np.int64).min  # `published_ms` of an item whose date is not known
_LAST_BIT = 63  # of `genre_bits`; it stands for every genre from the 64th on
_MOST_GENRES = np.iinfo(np.int16).max
Rows = npt.NDArray[np.int32]


class Catalog:
    """Items by row, 0 … n_items-1; rows mean something inside one release only, keys everywhere.

    keys (n,) uint64 · ids, titles: strings · genre (n,) int16, the primary one, -1 for none · genre_bits (n,) uint64,
    a bit for each of the 63 most frequent, the last for any other · unrestricted (n,) bool: shown in every region ·
    published_ms (n,) int64, UNKNOWN_MS where not known · price (n,) float32, NaN where not known ·
    available, promoted (n,) bool · genres, regions: all names, most frequent first.
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
        if len(genres.names) > _MOST_GENRES:
            raise DataError(
                f"the items have {len(genres.names)} genres, more than {_MOST_GENRES}; "
                "give coarser ones, and put the rest into `text` or `attributes`"
            )
        ids, titles = StringTable.of([i.item_id for i in listed]), StringTable.of([i.title for i in listed])
        published_ms = [UNKNOWN_MS if i.published_ms is None else i.published_ms for i in listed]
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
            "published_ms": np.array(published_ms, np.int64),
            "price": np.array([np.nan if i.price is None else i.price for i in listed], np.float32),
            "available": np.array([i.available for i in listed], np.bool_),
            "promoted": np.array([i.promoted for i in listed], np.bool_),
            "id_blob": ids.blob,
            "id_offsets": ids.offsets,
            "title_blob": titles.blob,
            "title_offsets": titles.offsets,
        }
        return cls(arrays, {"genres": genres.names, "regions": regions.names})

    def save(
        self, add_array: Callable[[str, npt.NDArray[Any]], object], add_json: Callable[[str, Any], object]
    ) -> None:
        """Hands each part to the writer of a release, named `catalog.…`."""
        for name in self.ARRAYS:
            add_array(f"catalog.{name}", self._arrays[name])
        add_json("catalog.names", {"genres": self.genres, "regions": self.regions})

    @classmethod
    def open(cls, array: Callable[[str], npt.NDArray[Any]], json: Callable[[str], Any]) -> "Catalog":
        """The catalogue over the parts of an opened release, mapped, not copied."""
        return cls({name: array(f"catalog.{name}") for name in cls.ARRAYS}, json("catalog.names"))

    def rows_of(self, keys: Keys) -> Rows:
        """Row of each key, (n,) int32, -1 where this catalogue has no such item."""
        if self.n_items == 0 or len(keys) == 0:
            return np.full(len(keys), -1, np.int32)
        at = self._sorted_keys.searchsorted(keys)
        found = self._sorted_keys.take(at, mode="clip") == keys
        return np.where(found, self._sorted_rows.take(at, mode="clip"), np.int32(-1))

    def row_of_key(self, key: int) -> int:
        """Row of one key, -1 where this catalogue has no such item."""
        at = int(self._sorted_keys.searchsorted(np.uint64(key)))
        return int(self._sorted_rows[at]) if at < self.n_items and self._sorted_keys[at] == key else -1

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


def _bits(names: tuple[str, ...], labels: Labels) -> int:
    return sum({1 << min(labels.code(name), _LAST_BIT) for name in names})
