"""What the crowd chooses under the same circumstances: decayed counts of items by device, region, referrer and so on.

Each value of a context key is a group of its own: `device=phone`, `region=SP`. Counts decay as in `trends`. Only the
items chosen lately are counted, each in a slot, so memory is bounded whatever the catalogue: slots × groups numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.domain.identity import Keys, context_keys, key_of
from upnext.settings import TrendSettings
from upnext.state.slots import Slots

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Context = tuple[int, ...]
"""One key per context name (see `ContextTrends.context_of`), 0 where nothing is known; empty for nothing at all."""
NOTHING: Context = ()
CONTEXTS_PART = "contexts.totals"  # in a release or snapshot that has counts by context
_ALL = 0  # the column that counts every event
_RENORMALIZE_AT = 200.0  # as in `trends`
_NONE = -1


class ContextTrends:
    """Counts by context. One thread observes; others may read meanwhile."""

    def __init__(self, n_items: int, settings: TrendSettings) -> None:
        self.names = settings.contexts
        self.n_items = n_items
        self._half_life_ms = float(settings.context_half_life_ms)
        self._most_values = settings.context_values
        self._most_slots = min(settings.context_items, n_items)
        self._clear()

    def _clear(self) -> None:
        """Nothing known yet. Zeros cost no memory until they are written to."""
        n_groups = 1 + len(self.names) * self._most_values
        self._column: dict[int, int] = {}  # of each group's key
        self._n_values = [0] * len(self.names)
        self._slots = Slots(self.n_items, self._most_slots)
        self._landmark_ms = 0.0
        # Weights (n_groups, n_slots) and their sums: one tuple, so that a reader never sees them apart.
        self._scaled = np.zeros((n_groups, self._most_slots)), np.zeros(n_groups)

    def context_of(self, told: Mapping[str, Any]) -> Context:
        """The keys of what is told of the circumstances; NOTHING where none of the names has a value."""
        if not told or not self.names:
            return NOTHING
        keys = context_keys(self.names, told)
        return keys if any(keys) else NOTHING

    def observe(self, context: Context, row: int, timestamp_ms: int) -> None:
        """Counts one interaction under its circumstances."""
        if not self.names:
            return
        since_ms = timestamp_ms - self._landmark_ms
        if since_ms > _RENORMALIZE_AT * self._half_life_ms:
            self._move_landmark(float(timestamp_ms))
            since_ms = 0.0
        gain = 2.0 ** (since_ms / self._half_life_ms)
        slot = int(self._slots.of[row])
        if slot < 0:
            slot = self._new_slot(row)
        weights, totals = self._scaled
        for column in (_ALL, *self._columns(context, learn=True)):
            if column >= 0:
                totals[column] += gain  # before the weight: a share read meanwhile is never above 1
                weights[column, slot] += gain

    def observe_many(
        self, contexts: npt.NDArray[np.int32], keys: Keys, rows: Rows, timestamps_ms: npt.NDArray[np.int64]
    ) -> None:
        """The same for a whole history in order of time, forgetting what was known.

        `contexts` (n, n_names): places in `keys` (n_keys,), of which the first is 0, nothing known; arrays (n,).
        """
        self._clear()
        if not len(rows) or not self.names:
            return
        self._landmark_ms = float(timestamps_ms.max())
        gain = np.exp2((timestamps_ms - self._landmark_ms) / self._half_life_ms)
        heaviest = np.bincount(rows, weights=gain, minlength=self.n_items)
        chosen = np.unique(rows)
        owners = chosen[np.argsort(-heaviest[chosen], kind="stable")[: self._most_slots]].astype(np.int32)
        self._slots.adopt(owners)
        slots = self._slots.of[rows]
        counted = slots >= 0
        weights, totals = self._scaled
        weights[_ALL] = np.bincount(slots[counted], weights=gain[counted], minlength=self._most_slots)
        totals[_ALL] = gain.sum()
        for number in range(min(contexts.shape[1], len(self.names))):
            column_of = self._columns_of(contexts[:, number], keys, number)
            columns = column_of[contexts[:, number]]
            known = columns >= 0
            np.add.at(totals, columns[known], gain[known])
            known &= counted
            np.add.at(weights, (columns[known], slots[known]), gain[known])

    def shares(self, context: Context, rows: npt.NDArray[np.integer[Any]]) -> Floats:
        """(1 + n_names, n) float32: the share of each of `rows` (n,) in all that the crowd chose lately.

        Behind it the shares in what it chose under the same value of each name; 0 where nothing is known.
        """
        weights, totals = self._scaled
        found = np.zeros((1 + len(self.names), len(rows)), np.float32)
        slots = self._slots.of.take(rows)
        for place, column in enumerate((_ALL, *self._columns(context))):
            if column >= 0 and totals[column] > 0:
                found[place] = np.where(slots >= 0, weights[column].take(slots, mode="wrap") / totals[column], 0.0)
        return found

    def top(self, context: Context, n: int) -> Rows:
        """At most `n` rows with the largest shares under these circumstances, all names together, best first.

        Ties go to the lower row. Empty where nothing is known.
        """
        columns = [column for column in self._columns(context) if column >= 0]
        (weights, totals), used = self._scaled, self._slots.n_used
        columns = [column for column in columns if totals[column] > 0]
        if not columns or not used:
            return np.empty(0, np.int32)
        shares = np.zeros(used)
        for column in columns:
            shares += weights[column, :used] * (1.0 / totals[column])
        places = shares.nonzero()[0]
        high = shares[places]
        if len(places) > n:
            chosen = high >= np.partition(high, -n)[-n]
            places, high = places[chosen], high[chosen]
        owners = self._slots.owners[places]
        return owners[np.lexsort((owners, -high))[:n]]

    def _columns(self, context: Context, *, learn: bool = False) -> list[int]:
        """The column of each name's value, -1 where there is none."""
        found = []
        for number, key in enumerate(context):
            column = self._column.get(key, _NONE) if key else _NONE
            if column < 0 and key and learn:
                column = self._new_column(key, number)
            found.append(column)
        return found

    def _new_column(self, key: int, number: int) -> int:
        """For a value met first; -1 where the name has as many as are told apart."""
        if self._n_values[number] >= self._most_values:
            return _NONE
        column = 1 + number * self._most_values + self._n_values[number]
        self._n_values[number] += 1
        self._column[key] = column
        return column

    def _columns_of(self, codes: npt.NDArray[np.int32], keys: Keys, number: int) -> npt.NDArray[np.int32]:
        """(n_keys,) the column of each key, in the order in which `codes` first name them."""
        column_of = np.full(len(keys), _NONE, np.int32)
        values, first = np.unique(codes, return_index=True)
        for code in values[np.argsort(first)].tolist():
            if keys[code]:
                column_of[code] = self._columns((0,) * number + (int(keys[code]),), learn=True)[number]
        return column_of

    def _new_slot(self, row: int) -> int:
        """Where all are taken, one of an item chosen little."""
        weights = self._scaled[0]
        slot, taken = self._slots.take(row, lambda slots: weights[_ALL, slots])
        if taken:
            weights[:, slot] = 0.0
        self._slots.of[row] = slot
        return slot

    def _move_landmark(self, landmark_ms: float) -> None:
        weights, totals = self._scaled
        decay = np.exp2((self._landmark_ms - landmark_ms) / self._half_life_ms)
        self._scaled = weights * decay, totals * decay
        self._landmark_ms = landmark_ms

    def save(self, add_array: Callable[[str, npt.NDArray[Any]], object]) -> None:
        """Hands each part to the writer of a release, named `contexts.…`."""
        (weights, totals), used = self._scaled, self._slots.n_used
        add_array("contexts.names", _name_keys(self.names))
        add_array("contexts.keys", np.array(list(self._column), np.uint64))
        columns = np.array(list(self._column.values()), np.int32)
        add_array("contexts.name_numbers", (columns - 1) // self._most_values)  # as numbers of names
        columns = np.append(np.int32(_ALL), columns)
        add_array("contexts.owner", self._slots.owners[:used])
        add_array("contexts.weights", weights[columns, :used])
        add_array(CONTEXTS_PART, totals[columns])
        add_array("contexts.landmark_ms", np.array([self._landmark_ms]))

    def load(self, array: Callable[[str], npt.NDArray[Any]], rows: Rows | None = None) -> None:
        """Takes over (copies) what `save` handed out; what was known before is forgotten. `rows`: see `Crowd.load`.

        Counts by other names than today's are left out, all of them: they would not add up.
        """
        self._clear()
        if not np.array_equal(array("contexts.names"), _name_keys(self.names)):
            return
        owners, saved, totals_before = (array(f"contexts.{name}") for name in ("owner", "weights", "totals"))
        now = np.arange(self.n_items, dtype=np.int32) if rows is None else rows
        owners = now[owners]
        kept = np.flatnonzero(owners >= 0)
        kept = kept[np.argsort(-saved[_ALL, kept], kind="stable")[: self._most_slots]]
        self._slots.adopt(owners[kept])
        self._landmark_ms = float(array("contexts.landmark_ms")[0])
        weights, totals = self._scaled
        keys, numbers = array("contexts.keys").tolist(), array("contexts.name_numbers").tolist()
        columns = [_ALL, *(self._new_column(key, number) for key, number in zip(keys, numbers, strict=True))]
        for place, column in enumerate(columns):
            if column >= 0:
                weights[column, : len(kept)] = saved[place, kept]
                totals[column] = totals_before[place]


def completed(told: Context, last: Context) -> Context:
    """What is `told`, and where it says nothing what was so `last`."""
    if not told or not last:
        return told or last
    return tuple(now or before for now, before in zip(told, last, strict=True))


def _name_keys(names: Sequence[str]) -> Keys:
    return np.array([key_of(name) for name in names], np.uint64)
