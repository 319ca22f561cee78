"""The records that one thread has brought for its request; knows not where they came from."""

import threading

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


class Hand(threading.local):
    """What one thread has brought: its rows, in the order it asked for them."""

    def __init__(self) -> None:
        self._room = np.empty((0, 0), np.uint8)
        self.empty()

    def empty(self) -> None:
        self.rows: Rows = np.empty(0, np.int64)
        self.records = self._room[:0]
        self.version = -1
        self._order: Rows | None = None

    def room(self, n: int, record_bytes: int) -> npt.NDArray[np.uint8]:
        """(n, record_bytes) to be filled; the same memory every time, since new pages cost more than what is copied."""
        if len(self._room) < n:
            self._room = np.empty((n, record_bytes), np.uint8)
        return self._room[:n]

    def hold(self, rows: Rows, records: npt.NDArray[np.uint8], version: int) -> None:
        self.rows, self.records, self.version = rows, records, version

    def places(self, rows: Rows) -> slice | Rows | None:
        """Where `rows` are among those at hand; None unless all are. Mostly they are a stretch of them, in order."""
        held, n = self.rows, len(rows)
        if not n or not len(held):
            return None if n else slice(0, 0)
        first = int((held == rows[0]).argmax())
        if held[first] != rows[0]:
            return None
        if np.array_equal(held[first : first + n], rows):
            return slice(first, first + n)
        if self._order is None:
            self._order = np.argsort(held, kind="stable")
        at = self._order.take(np.searchsorted(held, rows, sorter=self._order), mode="clip")
        return at if np.array_equal(held.take(at), rows) else None
