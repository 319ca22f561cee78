"""Records of the rows used last, in one arena bounded in bytes; knows not what they hold or where they come from."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.errors import SettingsError

WAYS = 8  # places that a row may be at
_MOST_PINNED = 6  # of them, so that rows which nobody pinned have places too
_PINNED = np.iinfo(np.int64).max  # as the moment of last use: later than any
_SLOT_BYTES = 4 + 8  # a row's number and when it was used last
Rows = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]


class RowCache:
    """Least recently used within sets of 8 places, as the caches of processors are; all rows of a call at once.

    A row's set is its number modulo the sets, and no object exists per row: looking up is a gather and a comparison.
    Pinned rows are never pushed out. Safe to call from several threads.
    """

    def __init__(self, capacity_bytes: int, record_bytes: int) -> None:
        """Raises `SettingsError` where not one set of records fits."""
        self.record_bytes = record_bytes
        self._n_sets = capacity_bytes // (WAYS * (record_bytes + _SLOT_BYTES))
        if self._n_sets < 1:
            raise SettingsError(
                f"{capacity_bytes} bytes hold no {WAYS} records of {record_bytes} bytes; allow more for item rows"
            )
        self.capacity = self._n_sets * WAYS
        self._rows = np.full((self._n_sets, WAYS), -1, np.int32)
        self._used = np.full((self._n_sets, WAYS), -1, np.int64)
        self._records = np.empty(self.capacity, np.dtype((np.void, record_bytes)))
        self._now = 0
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0
        self.evictions = 0

    @property
    def size_bytes(self) -> int:
        """All that it will ever take; taken from the system as it fills."""
        return self._rows.nbytes + self._used.nbytes + self._records.nbytes

    @property
    def held(self) -> int:
        return int(np.count_nonzero(self._rows >= 0))

    @property
    def pinned(self) -> int:
        return int(np.count_nonzero(self._used == _PINNED))

    def has(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """(n,) which of `rows` are held; counts as no use."""
        found: npt.NDArray[np.bool_] = (self._rows.take(rows % self._n_sets, axis=0) == rows[:, None]).any(axis=1)
        return found

    def find(self, rows: Rows, out: npt.NDArray[np.uint8]) -> Places:
        """Copies the records of `rows` (n,) that are held into `out` (n, record_bytes); the places of those missing."""
        into = out.view(self._records.dtype).reshape(-1)
        sets = rows % self._n_sets
        with self._lock:
            same = (self._rows.take(sets, axis=0) == rows[:, None]).ravel().nonzero()[0]
            at: Places = same // WAYS
            slots = sets.take(at) * WAYS + same % WAYS
            self._now += 1
            used = self._used.reshape(-1)
            used[slots] = np.maximum(used.take(slots), self._now)
            self.hits += len(at)
            self.misses += len(rows) - len(at)
            if len(at) == len(rows):
                self._records.take(slots, out=into, mode="clip")
                return at[:0]
            into[at] = self._records.take(slots)
        missing = np.ones(len(rows), np.bool_)
        missing[at] = False
        places: Places = missing.nonzero()[0]
        return places

    def keep(self, rows: Rows, records: npt.NDArray[np.uint8], *, pin: bool = False) -> None:
        """Takes in records (n, record_bytes) of distinct `rows`, in the place of those unused for longest.

        Where a set is full of pinned rows, or more rows of one set come at once than it has places, some are left out.
        Of rows to `pin` those beyond 6 of a set are held like any other.
        """
        values = records.view(self._records.dtype).reshape(-1)
        with self._lock:
            new = (~self.has(rows)).nonzero()[0]  # another thread may have brought them meanwhile
            sets = rows.take(new) % self._n_sets
            order = np.argsort(sets, kind="stable")
            new, sets = new.take(order), sets.take(order)
            rank = _rank_within(sets)
            used = self._used.take(sets, axis=0)
            ways = np.argsort(used, axis=1, kind="stable")[np.arange(len(sets)), np.minimum(rank, WAYS - 1)]
            free = (rank < WAYS) & (used[np.arange(len(sets)), ways] != _PINNED)
            moment: Any = self._now
            if pin:
                moment = np.where((used == _PINNED).sum(axis=1) + rank < _MOST_PINNED, _PINNED, self._now)[free]
            slots, new = (sets * WAYS + ways)[free], new[free]
            flat = self._rows.reshape(-1)
            self.evictions += int(np.count_nonzero(flat.take(slots) >= 0))
            flat[slots] = rows.take(new)
            self._used.reshape(-1)[slots] = moment
            self._records[slots] = values.take(new)


def _rank_within(sets: Rows) -> Rows:
    """For rising `sets`, how many of the same come before each."""
    places = np.arange(len(sets))
    new = np.ones(len(sets), np.bool_)
    new[1:] = sets[1:] != sets[:-1]
    ranks: Rows = places - np.maximum.accumulate(np.where(new, places, 0))
    return ranks
