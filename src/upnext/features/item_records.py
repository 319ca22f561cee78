"""How an item's rows of several tables lie in one record, and under which keys a store has them; reads none."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

# The parts of a release that have a row per item and make up a record, where the release has them.
ITEM_TABLES = ("vectors.session", "vectors.user", "vectors.content", "ranker.item_hidden", "ranker.item_inputs")
MARKS = b"item_rows/"  # one per release: its `Published`
_ROWS = b"item_row/"

Records = npt.NDArray[np.uint8]


class Column(msgspec.Struct, frozen=True):
    """One table's part of a record."""

    name: str
    dtype: str  # as numpy writes it, `<f4`
    width: int  # numbers in a row


class Published(msgspec.Struct, frozen=True):
    """What a store has of a release's item rows."""

    columns: tuple[Column, ...]
    n_rows: int
    done: int  # rows from the first on that are there; all of them when it is `n_rows`

    @property
    def complete(self) -> bool:
        return self.done == self.n_rows


class RecordLayout:
    """Tables side by side: all numbers of one item in one stretch of bytes, so that one read brings them all.

    Tables of wide numbers come first and records are padded to them, so that every column can be viewed in place.
    """

    def __init__(self, tables: Mapping[str, npt.NDArray[Any]]) -> None:
        """`tables` (n_items, width) each, by name."""
        named = sorted(tables, key=lambda name: (-tables[name].itemsize, name))
        self.columns = tuple(Column(name, tables[name].dtype.str, tables[name].shape[1]) for name in named)
        self._spans: dict[str, tuple[int, int]] = {}
        at = 0
        for name in named:
            size_bytes = tables[name].itemsize * tables[name].shape[1]
            self._spans[name] = (at, at + size_bytes)
            at += size_bytes
        widest = max((table.itemsize for table in tables.values()), default=1)
        self.record_bytes = -(-at // widest) * widest
        self._dtypes = {name: tables[name].dtype for name in named}

    def pack(self, tables: Mapping[str, npt.NDArray[Any]], first: int, last: int) -> Records:
        """(last - first, record_bytes): the records of rows `first` to `last`."""
        records = np.zeros((last - first, self.record_bytes), np.uint8)
        for name, table in tables.items():
            self.view(records, name)[:] = table[first:last]
        return records

    def view(self, records: Records, name: str) -> npt.NDArray[Any]:
        """(n, width): one table's part of `records` (n, record_bytes), in place."""
        begin, end = self._spans[name]
        return records[:, begin:end].view(self._dtypes[name])


def mark_key(release_id: str) -> bytes:
    """Where a store has the `Published` of a release."""
    return MARKS + release_id.encode()


def row_keys(release_id: str, rows: Iterable[int]) -> list[bytes]:
    """Where a store has the records of `rows`; in the order of the rows, and spread over a cluster's servers."""
    start = _ROWS + release_id.encode() + b"/"
    return [b"%b%08x" % (start, row) for row in rows]


def pack_mark(mark: Published) -> bytes:
    return msgspec.json.encode(mark)


def unpack_mark(value: bytes) -> Published:
    return msgspec.json.decode(value, type=Published)
