"""The newest sessions of everybody, by the items in them; one worker's copy, bounded in bytes; knows rows, not ids.

What sessions like this one held besides: the neighbours of VS-kNN and VMIS-kNN (Jannach, Ludewig, RecSys 2017;
Kersbergen, Sprangers, Schelter, SIGMOD 2022) kept as they come. Each item knows the newest sessions that it was in, and
each of them votes for its other items; no similarity is sorted, so an answer is a few lookups.

Sessions have numbers that only rise; a session's place is its number modulo their most, so the oldest makes way.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.settings import TrendSettings
from upnext.state.covisits import RowSums, heaviest_first
from upnext.state.slots import Slots

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
_WIDTH = 10  # newest distinct items that a session is known by
_BYTES_PER_SESSION = 4 * _WIDTH + 4
_BYTES_PER_VISIT = 8  # int64 number of a session
_BYTES_PER_SLOT = 12
_SESSIONS_SHARE = 4  # one part in so many of the memory is for sessions, the rest for visits by item
SESSIONS_PART = "sessions.items"  # in a release or snapshot that has sessions


class RecentSessions:
    """Which items were in which of the newest sessions. One thread adds; others may read meanwhile."""

    def __init__(self, n_items: int, settings: TrendSettings) -> None:
        self.n_items = n_items
        self._most_bytes = settings.sessions_bytes
        self._most_sessions = max(1, self._most_bytes // _SESSIONS_SHARE // _BYTES_PER_SESSION)
        self._sums = RowSums(n_items)
        self._clear(settings.sessions_per_item)

    def _clear(self, n_visits: int) -> None:
        """Nothing known yet. Zeros cost no memory until they are written to."""
        left = self._most_bytes - self._most_sessions * _BYTES_PER_SESSION
        self._most_slots = max(1, min(left // (n_visits * _BYTES_PER_VISIT + _BYTES_PER_SLOT) - 1, self.n_items))
        slots = self._most_slots + 1  # the last stays empty: it is what `NONE` points to
        self.next_number = 1  # of the next session that begins; 0 in `_visits` is none
        self._items: Rows = np.zeros((self._most_sessions, _WIDTH), np.int32)  # row + 1; 0: none
        self._lengths: Rows = np.zeros(self._most_sessions, np.int32)  # distinct items so far
        self._slots = Slots(self.n_items, self._most_slots)
        self._n_visits: Rows = np.zeros(slots, np.int32)  # so far; the ring below holds the last of them
        self._visits: Numbers = np.zeros((slots, n_visits), np.int64)  # numbers of sessions

    def add(self, number: int, row: int) -> int:
        """Item `row` in session `number`, which goes on, or a new one for 0 or one forgotten; the session's number."""
        if not self._held(number):
            number, self.next_number = self.next_number, self.next_number + 1
            place = number % self._most_sessions
            self._items[place] = 0
            self._lengths[place] = 0
        place = number % self._most_sessions
        items, entry = self._items[place], row + 1
        if entry in items.tolist():
            return number
        items[self._lengths[place] % _WIDTH] = entry
        self._lengths[place] += 1
        slot = int(self._slots.of[row])
        if slot < 0:
            slot = self._new_slot(row)
        self._visits[slot, self._n_visits[slot] % self._visits.shape[1]] = number
        self._n_visits[slot] += 1
        return number

    def add_many(self, sessions: npt.NDArray[np.int64], rows: Rows) -> Numbers:
        """The same for a whole history in order of time, forgetting what was known; arrays (n,).

        `sessions` number the sessions of the events from 0 on, in the order in which they begin. Returned is the number
        of the session of each event, 0 for one that is forgotten already.
        """
        self._clear(self._visits.shape[1])
        numbers = sessions + 1
        self.next_number = int(numbers.max(initial=0)) + 1
        _, first = np.unique(numbers * self.n_items + rows, return_index=True)
        first.sort()
        first = first[self._held_many(numbers[first])]
        self._fill_sessions(numbers[first], rows[first])
        self._fill_visits(numbers[first], rows[first])
        return np.where(self._held_many(numbers), numbers, 0)

    def _fill_sessions(self, numbers: Numbers, rows: Rows) -> None:
        ordinals, counts, _ = _ordinals(numbers)
        places = numbers % self._most_sessions
        newest = ordinals >= counts - _WIDTH
        self._items[places[newest], ordinals[newest] % _WIDTH] = rows[newest] + 1
        self._lengths[places] = counts

    def _fill_visits(self, numbers: Numbers, rows: Rows) -> None:
        ordinals, counts, last = _ordinals(rows)
        owners = rows[np.sort(last)][-self._most_slots :]  # those visited last
        self._slots.adopt(owners)
        slots = self._slots.of[rows]
        newest = (ordinals >= counts - self._visits.shape[1]) & (slots >= 0)
        self._visits[slots[newest], ordinals[newest] % self._visits.shape[1]] = numbers[newest]
        self._n_visits[slots[newest]] = counts[newest]

    def like(self, rows: Rows, weights: Floats) -> tuple[Rows, Floats]:
        """What sessions with `rows` (n,) held too, weighted: distinct rows without `rows`, and scores, heaviest first.

        A score is the weighted sum, over `rows`, of the share of each one's newest sessions that the item was in. Ties
        go to the lower row. Empty where nothing is known.
        """
        visits = self._visits.take(self._slots.of.take(rows), axis=0, mode="wrap")
        held = self._held_many(visits)
        asked, at = held.nonzero()
        if not len(asked):
            return np.empty(0, np.int32), np.empty(0, np.float32)
        entries = self._items.take(visits[asked, at] % self._most_sessions, axis=0).ravel()
        shares = weights / np.maximum(np.count_nonzero(held, axis=1), 1).astype(np.float32)
        present = entries > 0
        votes = shares.take(asked).repeat(_WIDTH)[present]
        return heaviest_first(*self._sums.distinct(entries[present], votes, rows + np.int32(1)))

    def _held(self, number: int) -> bool:
        return max(0, self.next_number - 1 - self._most_sessions) < number < self.next_number

    def _held_many(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        held: npt.NDArray[np.bool_] = numbers > max(0, self.next_number - 1 - self._most_sessions)
        return held

    def _new_slot(self, row: int) -> int:
        """Where all are taken, one of an item whose last visit is long ago."""
        slot, taken = self._slots.take(row, lambda slots: self._visits[slots].max(axis=1))
        if taken:
            self._visits[slot] = 0
            self._n_visits[slot] = 0
        self._slots.of[row] = slot
        return slot

    def save(self, add_array: Callable[[str, npt.NDArray[Any]], object]) -> None:
        """Hands each part to the writer of a release, named `sessions.…`."""
        used, begun = self._slots.n_used, min(self.next_number, self._most_sessions)
        add_array("sessions.next_number", np.array([self.next_number, self._most_sessions]))
        add_array(SESSIONS_PART, self._items[:begun])
        add_array("sessions.lengths", self._lengths[:begun])
        add_array("sessions.owner", self._slots.owners[:used])
        add_array("sessions.n_visits", self._n_visits[:used])
        add_array("sessions.visits", self._visits[:used])

    def load(self, array: Callable[[str], npt.NDArray[Any]], rows: Rows | None = None) -> None:
        """Takes over (copies) what `save` handed out; what was known before is forgotten.

        Where there is not room for all, the newest sessions stay, and the items visited last. `rows`: see `Crowd.load`.
        """
        next_number, most_before = array("sessions.next_number").tolist()
        visits, owners, n_visits = (array(f"sessions.{name}") for name in ("visits", "owner", "n_visits"))
        self._clear(visits.shape[1])
        self.next_number = next_number
        now = np.arange(self.n_items, dtype=np.int32) if rows is None else rows
        self._load_sessions(array, most_before, np.append(np.int32(0), now + np.int32(1)))
        owners = now[owners]
        there = np.flatnonzero(owners >= 0)
        newest = np.argsort(-visits[there].max(axis=1, initial=0), kind="stable")[: self._most_slots]
        kept = there[newest]
        self._slots.adopt(owners[kept])
        used = self._slots.n_used
        self._visits[:used] = visits[kept]
        self._n_visits[:used] = n_visits[kept]

    def _load_sessions(self, array: Callable[[str], npt.NDArray[Any]], most_before: int, entry_now: Rows) -> None:
        oldest = max(1, self.next_number - min(most_before, self._most_sessions))
        numbers = np.arange(oldest, self.next_number)
        self._items[numbers % self._most_sessions] = entry_now[array(SESSIONS_PART)[numbers % most_before]]
        self._lengths[numbers % self._most_sessions] = array("sessions.lengths")[numbers % most_before]


def _ordinals(groups: npt.NDArray[Any]) -> tuple[Numbers, Numbers, Numbers]:
    """For each element how many equal ones came before it and how many there are; and where each group ends."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[begins, len(order)])
    ordinals, counts = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    ordinals[order] = np.arange(len(order)) - np.repeat(begins, sizes)
    counts[order] = np.repeat(sizes, sizes)
    return ordinals, counts, order[begins + sizes - 1]
