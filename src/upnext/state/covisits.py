"""What was chosen next after each item, counted with decay as it happens; one worker's copy, bounded in bytes.

Per item a row of at most `covisit_width` successors, kept as in space-saving (Metwally, Agrawal, El Abbadi, ICDT 2005):
a new successor replaces the lightest, here without inheriting its weight. Decay is forward decay, as in `trends`, with
a landmark per row: only shares within a row are ever asked for, and those of a row that rests must not fade away.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.settings import TrendSettings

_MOST_FACTOR = 1e15  # beyond it are only totals that are being rescaled this moment
_RENORMALIZE_AT = 60.0  # exponents past 2^60 are brought back to 0, well inside float32
_BYTES_PER_SUCCESSOR = 8  # int32 entry, float32 weight
_BYTES_PER_SLOT = 20  # int32 owner, float64 total, float64 landmark
_NO_SHARE = np.uint64(0xFFFFFFFF_00000000)  # keys of entries without a share begin here
_HAND = 8  # slots looked at when one must make way

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class Covisits:
    """Directed counts "after this item, that one". One thread observes; others may read meanwhile."""

    def __init__(self, n_items: int, settings: TrendSettings) -> None:
        self.n_items = n_items
        self._half_life_ms = float(settings.covisit_half_life_ms)
        self._most_bytes = settings.covisit_bytes
        self._sums = RowSums(n_items)
        self._clear(settings.covisit_width)

    def _clear(self, width: int) -> None:
        """Nothing observed yet. Zeros cost no memory until they are written to."""
        affordable = self._most_bytes // (width * _BYTES_PER_SUCCESSOR + _BYTES_PER_SLOT)
        self._most_slots = max(1, min(affordable - 1, self.n_items))
        slots = self._most_slots + 1  # the last stays empty: it is what -1 points to
        self._slot: Rows = np.full(self.n_items, -1, np.int32)  # of each item; -1: none
        self._used = 0
        self._hand = 0
        self._owner: Rows = np.zeros(slots, np.int32)
        self._successors: Rows = np.zeros((slots, width), np.int32)  # row + 1; 0: none
        self._weights: Floats = np.zeros((slots, width), np.float32)
        self._totals: Doubles = np.zeros(slots)  # of all successors ever seen, also those that made way
        self._landmarks_ms: Doubles = np.zeros(slots)

    def observe(self, row: int, next_row: int, timestamp_ms: int) -> None:
        """Counts that `next_row` was chosen after `row`."""
        slot = int(self._slot[row])
        if slot < 0:
            slot = self._new_slot(row, timestamp_ms)
        successors, weights = self._successors[slot], self._weights[slot]
        exponent = (timestamp_ms - float(self._landmarks_ms[slot])) / self._half_life_ms
        if exponent > _RENORMALIZE_AT:
            factor = 2.0**-exponent
            weights *= factor
            self._totals[slot] *= factor
            self._landmarks_ms[slot] = timestamp_ms
            exponent = 0.0
        gain = 2.0**exponent
        at = (successors == next_row + 1).argmax()
        if successors[at] != next_row + 1:
            at = weights.argmin()
            weights[at] = 0.0
            successors[at] = next_row + 1
        self._totals[slot] += gain
        weights[at] += gain

    def observe_many(self, rows: Rows, next_rows: Rows, timestamps_ms: npt.NDArray[np.int64]) -> None:
        """The same for many pairs at once, in any order; what was observed before is forgotten.

        Where there is not room for all, the items followed most often stay, and of each the heaviest successors.
        """
        width = self._successors.shape[1]
        self._clear(width)
        if not len(rows):
            return
        newest_ms = np.zeros(self.n_items)
        np.maximum.at(newest_ms, rows, timestamps_ms)
        gains = np.exp2((timestamps_ms - newest_ms[rows]) / self._half_life_ms)
        pairs, inverse = np.unique(rows.astype(np.int64) * self.n_items + next_rows, return_inverse=True)
        weights = np.bincount(inverse, weights=gains)
        owners, successors = np.divmod(pairs, self.n_items)
        order = np.lexsort((successors, -weights, owners))
        owners, successors, weights = owners[order], successors[order], weights[order]
        begins = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
        sizes = np.diff(np.r_[begins, len(owners)])
        totals = np.add.reduceat(weights, begins)
        kept = self._adopt(owners[begins], totals, newest_ms[owners[begins]])
        slot_of_group = np.full(len(begins), -1)
        slot_of_group[kept] = np.arange(len(kept))
        slots, places = np.repeat(slot_of_group, sizes), np.arange(len(owners)) - np.repeat(begins, sizes)
        keep = (slots >= 0) & (places < width)
        self._successors[slots[keep], places[keep]] = successors[keep] + 1
        self._weights[slots[keep], places[keep]] = weights[keep]

    def after(self, rows: Rows, weights: Floats) -> tuple[Rows, Floats]:
        """What tends to follow `rows` (n,), weighted: distinct rows and scores, heaviest first, ties by row.

        A score is the weighted sum of the shares that the item has among the successors of each row, so at most the sum
        of `weights`. Empty where nothing is known.
        """
        slots = self._slot.take(rows)
        totals = self._totals.take(slots, mode="wrap")
        if not totals.all():  # no slot, or one that changes hands just now
            known = totals > 0
            slots, totals, weights = slots[known], totals[known], weights[known]
        if not len(slots):
            return np.empty(0, np.int32), np.empty(0, np.float32)
        shares = self._weights.take(slots, axis=0)
        shares *= np.minimum(weights / totals, _MOST_FACTOR).astype(np.float32)[:, None]
        np.minimum(shares, weights[:, None], out=shares)  # a row read while it is being rescaled has no share above 1
        entries, flat = self._successors.take(slots, axis=0).ravel(), shares.ravel()
        return heaviest_first(entries, flat if len(slots) == 1 else self._sums.of(entries, flat))

    def after_one(self, row: int) -> tuple[Rows, Floats]:
        """What tends to follow `row`: distinct rows and their shares, in no particular order."""
        slot = self._slot[row]
        total = self._totals[slot]
        if total <= 0:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        weights = self._weights[slot]
        present = weights > 0
        shares = np.minimum(weights[present] * np.float32(1.0 / total), np.float32(1.0))
        return self._successors[slot][present] - np.int32(1), shares

    def _new_slot(self, row: int, timestamp_ms: int) -> int:
        if self._used < self._most_slots:
            slot = self._used
            self._used += 1
        else:  # the lightest of the next few makes way
            window = (self._hand + np.arange(_HAND)) % self._most_slots
            slot = int(window[self._heaviness(self._totals[window], self._landmarks_ms[window]).argmin()])
            self._hand = int(window[-1]) + 1
            self._slot[self._owner[slot]] = -1
            self._totals[slot] = 0.0
            self._weights[slot] = 0.0
        self._owner[slot] = row
        self._landmarks_ms[slot] = timestamp_ms
        self._slot[row] = slot
        return slot

    def _adopt(self, owners: npt.NDArray[Any], totals: Doubles, landmarks_ms: Doubles) -> npt.NDArray[np.intp]:
        """Gives the first slots to the heaviest of `owners`, in their order; which they are."""
        heaviest = np.argsort(-self._heaviness(totals, landmarks_ms), kind="stable")[: self._most_slots]
        kept = np.sort(heaviest)
        self._used = len(kept)
        self._owner[: self._used] = owners[kept]
        self._totals[: self._used] = totals[kept]
        self._landmarks_ms[: self._used] = landmarks_ms[kept]
        self._slot[owners[kept]] = np.arange(self._used, dtype=np.int32)
        return kept

    def _heaviness(self, totals: Doubles, landmarks_ms: Doubles) -> Doubles:
        """Logarithms of totals as of one moment, comparable between rows."""
        heaviness: Doubles = np.log2(totals) + landmarks_ms / self._half_life_ms
        return heaviness

    def save(self, add_array: Callable[[str, npt.NDArray[Any]], object]) -> None:
        """Hands each part to the writer of a release, named `covisits.…`."""
        used = self._used
        add_array("covisits.owner", self._owner[:used])
        add_array("covisits.successors", self._successors[:used])
        add_array("covisits.weights", self._weights[:used])
        add_array("covisits.totals", self._totals[:used])
        add_array("covisits.landmarks_ms", self._landmarks_ms[:used])

    def load(self, array: Callable[[str], npt.NDArray[Any]], rows: Rows | None = None) -> None:
        """Takes over (copies) what `save` handed out, with its width; what was observed before is forgotten.

        Where there is not room for all, the items followed most often stay. `rows`: see `Crowd.load`.
        """
        owners, totals, landmarks_ms = (array(f"covisits.{name}") for name in ("owner", "totals", "landmarks_ms"))
        successors, weights = array("covisits.successors"), array("covisits.weights")
        if rows is not None:
            owners = rows[owners]
            there = (owners >= 0).nonzero()[0]
            owners, totals, landmarks_ms = owners[there], totals[there], landmarks_ms[there]
            successors, weights = successors[there], weights[there]
            now = np.concatenate([np.zeros(1, np.int32), rows + np.int32(1)])  # of row + 1; 0 stays none
            successors = now[successors]
            weights = np.where(successors > 0, weights, np.float32(0))
        self._clear(successors.shape[1])
        kept = self._adopt(owners, totals, landmarks_ms)
        self._successors[: self._used] = successors[kept]
        self._weights[: self._used] = weights[kept]


class RowSums(threading.local):
    """Sums by item, in an array as long as the catalogue, one per thread; always left zeroed."""

    def __init__(self, n_items: int) -> None:
        self._floats = np.zeros(n_items + 1, np.float32)

    def of(self, entries: Rows, shares: Floats) -> Floats:
        """For each entry (row + 1) the sum of the shares of its equals."""
        sums, places = self._floats, entries.astype(np.intp)  # once, since assignment is three times as quick by intp
        np.add.at(sums, places, shares)
        found = sums.take(places)
        sums[places] = 0.0
        return found

    def distinct(self, entries: Rows, shares: Floats, without: Rows) -> tuple[Rows, Floats]:
        """Each entry once, in no particular order, and the sum of its shares, which is 0 for those in `without`.

        Fewer to sort afterwards, where entries come many times.
        """
        sums, places = self._floats, entries.astype(np.intp)
        numbers = np.arange(len(places), dtype=np.float32)  # exact below 2^24
        np.add.at(sums, places, shares)
        sums[without] = 0.0
        found = sums.take(places)
        sums[places] = numbers  # of equals, one remains
        one = sums.take(places) == numbers
        sums[places] = 0.0
        return entries[one], found[one]


def heaviest_first(entries: Rows, shares: Floats) -> tuple[Rows, Floats]:
    """Distinct rows and shares of entries (row + 1), in order, without those that have none.

    Equal entries must have equal shares; ties go to the lower row.
    """
    # One number that sorts by falling share, then by row: the bits of floats that are not negative sort as they do.
    pairs = np.empty((len(entries), 2), np.uint32)  # low half, high half
    pairs[:, 0] = entries
    np.invert(shares.view(np.uint32), out=pairs[:, 1])
    keys = pairs.view(np.uint64).ravel()
    keys.sort()
    keep = np.empty(len(keys), np.bool_)
    keep[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=keep[1:])
    keep[keys.searchsorted(_NO_SHARE) :] = False
    pairs = keys[keep].view(np.uint32).reshape(-1, 2)
    return pairs[:, 0].view(np.int32) - np.int32(1), (~pairs[:, 1]).view(np.float32)
