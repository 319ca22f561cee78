"""Shortlists in a worker's own memory, bounded in bytes; knows nothing of stores and requests."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from cachetools import Cache, LRUCache

from upnext.state.shortlist import Shortlist

Key: TypeAlias = tuple[str, str, tuple[str, ...]]  # subject ("" for nobody), region, genres
_ENTRY_BYTES = 5_000  # what Python takes for one entry beside its arrays: measured, rounded up


@dataclass(slots=True, eq=False)
class AtHand:
    """A shortlist, and what was read of its user's state when it was taken in."""

    shortlist: Shortlist
    seen_rows: npt.NDArray[np.int32]
    state_version: int
    change: tuple[int, int]  # see `Changes.of`, as of before the state was read
    prepared: Any = None  # what a server made of it, at most a few kilobytes


class L1:
    """Two least-recently-used caches: one for the most active users, which nobody else pushes out, one for the rest.

    For one thread.
    """

    def __init__(self, most_bytes: int, pinned_share: float) -> None:
        """`most_bytes` for both together; of them `pinned_share` for the shortlists marked `head`."""
        pinned_bytes = int(most_bytes * pinned_share)
        self._pinned: LRUCache[Key, AtHand] = LRUCache(pinned_bytes, _size_bytes)
        self._rest: LRUCache[Key, AtHand] = LRUCache(most_bytes - pinned_bytes, _size_bytes)
        self._round: list[Key] = []  # what `next_keys` has still to give of this time round

    def __len__(self) -> int:
        return len(self._rest) + len(self._pinned)

    @property
    def size_bytes(self) -> int:
        """What the entries take, about."""
        return int(self._rest.currsize + self._pinned.currsize)

    def get(self, key: Key) -> AtHand | None:
        """What is kept under `key`, which counts as a use of it. 1 µs."""
        found = self._rest.get(key)
        return found if found is not None else self._pinned.get(key)

    def put(self, key: Key, at_hand: AtHand) -> None:
        """Keeps it in place of what is there; one that is larger than the cache is not kept.

        A user of the head stays one when an ordinary request replaces what the batch had made.
        """
        cache = self._pinned if at_hand.shortlist.head or key in self._pinned else self._rest
        other = self._rest if cache is self._pinned else self._pinned
        other.pop(key, None)
        if _size_bytes(at_hand) <= cache.maxsize:
            cache[key] = at_hand
        else:
            cache.pop(key, None)

    def look(self, key: Key) -> AtHand | None:
        """What is kept under `key`, which does not count as a use of it."""
        for cache in (self._rest, self._pinned):
            if key in cache:
                found: AtHand = Cache.__getitem__(cache, key)
                return found
        return None

    def next_keys(self, n: int) -> list[Key]:
        """Some of all keys, others each time, until all have had their turn, and so on; of entries that may be gone."""
        if not self._round:
            self._round = [*self._rest, *self._pinned]
        some, self._round = self._round[:n], self._round[n:]
        return some

    def drop(self, key: Key) -> None:
        """Nothing is kept under `key` any more."""
        self._rest.pop(key, None)
        self._pinned.pop(key, None)


def _size_bytes(at_hand: AtHand) -> int:
    return _ENTRY_BYTES + at_hand.shortlist.size_bytes + at_hand.seen_rows.nbytes
