"""What the crowd does now: decayed counts of items, in arrays by row; one worker's copy, fed by the event log.

Forward decay (Cormode, Shkapenyuk, Srivastava, Xu, ICDE 2009): an event at time t adds 2^((t - landmark) / half-life),
so nothing has to be touched as time passes; reading divides by the same power of the latest event's time. The order of
items that saw no event never changes, so the most popular are kept exactly by looking only at items that did.

Time here is event time: "now" is the latest event observed, so a replay, a quiet night and old data all look alike.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.settings import TrendSettings

_RENORMALIZE_AT = 200.0  # exponents past 2^200 are brought back to 0, far from the end of float64
_TOP = 2_000  # most popular items kept ready
_NEVER_MS = np.iinfo(np.int64).max

Rows = npt.NDArray[np.int32]
FAST = 0  # the column of the fastest half-life


class ItemTrends:
    """Decayed counts per item for each half-life, and the items with the highest.

    One thread observes; others may read meanwhile and see counts a moment old.
    """

    def __init__(self, n_items: int, settings: TrendSettings) -> None:
        self._half_lives_ms = np.array(settings.half_lives_ms, np.float64)
        self._each_half_life_ms = self._half_lives_ms.tolist()
        self._renormalize_ms = _RENORMALIZE_AT * min(self._each_half_life_ms)
        self._popular = settings.popular_half_life
        # Weights (n_items, n_half_lives) and their landmark: one tuple, so that a reader never sees them apart.
        self._scaled = (np.zeros((n_items, len(self._half_lives_ms))), 0.0)
        self.latest_ms = 0  # time of the latest event observed; 0 before the first
        self.first_seen_ms = np.full(n_items, _NEVER_MS, np.int64)
        self._touched: set[int] = set()
        self._sorting = threading.Lock()
        self._tops = {column: _Top(n_items) for column in {FAST, self._popular}}

    def observe(self, row: int, timestamp_ms: int) -> None:
        """Counts one interaction; an event older than the landmark counts what is left of it."""
        since_ms = timestamp_ms - self._scaled[1]
        if since_ms > self._renormalize_ms:
            self._move_landmark(timestamp_ms)
            since_ms = 0.0
        # Before the weights: a reader in between must not take a weight of this moment for one of a moment before.
        if timestamp_ms > self.latest_ms:
            self.latest_ms = timestamp_ms
        weights = self._scaled[0][row]
        for column, half_life_ms in enumerate(self._each_half_life_ms):
            weights[column] += 2.0 ** (since_ms / half_life_ms)
        if timestamp_ms < self.first_seen_ms[row]:
            self.first_seen_ms[row] = timestamp_ms
        self._touched.add(row)

    def observe_batch(self, rows: Rows, timestamps_ms: npt.NDArray[np.int64]) -> None:
        """The same for some events at once, in any order; costs by their number, not by the number of items."""
        if not len(rows):
            return
        newest_ms = int(timestamps_ms.max())
        if newest_ms - self._scaled[1] > self._renormalize_ms:
            self._move_landmark(newest_ms)
        self.latest_ms = max(self.latest_ms, newest_ms)
        weights, landmark_ms = self._scaled
        np.add.at(weights, rows, np.exp2((timestamps_ms - landmark_ms)[:, None] / self._half_lives_ms))
        np.minimum.at(self.first_seen_ms, rows, timestamps_ms)
        self._touched.update(rows.tolist())

    def observe_many(self, rows: Rows, timestamps_ms: npt.NDArray[np.int64]) -> None:
        """The same for a whole history at once, in any order."""
        if not len(rows):
            return
        self.latest_ms = max(self.latest_ms, int(timestamps_ms.max()))
        self._move_landmark(self.latest_ms)
        weights, landmark_ms = self._scaled
        for column, half_life_ms in enumerate(self._each_half_life_ms):
            gain = np.exp2((timestamps_ms - landmark_ms) / half_life_ms)
            weights[:, column] += np.bincount(rows, weights=gain, minlength=len(weights))
        np.minimum.at(self.first_seen_ms, rows, timestamps_ms)
        self._touched.update(np.unique(rows).tolist())

    def counts(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """(n_rows, n_half_lives) float32: decayed numbers of interactions as of the latest event."""
        weights, landmark_ms = self._scaled
        # The landmark may just have been moved to an event that `latest_ms` does not know yet.
        decay = np.exp2(min(landmark_ms - self.latest_ms, 0.0) / self._half_lives_ms)
        return (weights.take(rows, axis=0) * decay).astype(np.float32)

    def popular(self) -> Rows:
        """Up to 2,000 rows that saw an interaction, the most popular (see settings) first; ties by row.

        While another thread sorts them, the same array as last time.
        """
        return self._top(self._popular)

    def trending(self) -> Rows:
        """The same by the fastest half-life: what the crowd chooses right now."""
        return self._top(FAST)

    def _top(self, column: int) -> Rows:
        if self._touched and self._sorting.acquire(blocking=False):
            try:
                # Rows leave the set before their weights are read; the observer adds to the weight before: none is
                # missed.
                rows = list(self._touched)
                self._touched.difference_update(rows)
                touched = np.array(rows, np.int32)
                for each, top in self._tops.items():
                    top.sort_in(touched, self._scaled[0][:, each])
            finally:
                self._sorting.release()
        return self._tops[column].rows

    def _move_landmark(self, landmark_ms: int) -> None:
        weights, before_ms = self._scaled
        self._scaled = weights * np.exp2((before_ms - landmark_ms) / self._half_lives_ms), float(landmark_ms)

    def save(self, add_array: Callable[[str, npt.NDArray[Any]], object]) -> None:
        """Hands each part to the writer of a release, named `trends.…`."""
        weights, landmark_ms = self._scaled
        add_array("trends.weights", weights)
        add_array("trends.times_ms", np.array([landmark_ms, self.latest_ms]))
        add_array("trends.first_seen_ms", self.first_seen_ms)

    def load(self, array: Callable[[str], npt.NDArray[Any]], rows: Rows | None = None) -> None:
        """Takes over (copies) what `save` handed out; what was observed before is forgotten.

        Saved may be fewer items than there are now; of the last ones nothing was observed. `rows`: see `Crowd.load`.
        """
        landmark_ms, latest_ms = array("trends.times_ms").tolist()
        saved, first_seen_ms = array("trends.weights"), array("trends.first_seen_ms")
        if rows is None:
            rows = np.arange(len(saved), dtype=np.int32)
        kept = (rows >= 0).nonzero()[0]
        weights = np.zeros((len(self.first_seen_ms), saved.shape[1]))
        weights[rows[kept]] = saved[kept]
        self._scaled = weights, landmark_ms
        self.latest_ms = int(latest_ms)
        self.first_seen_ms[:] = _NEVER_MS
        self.first_seen_ms[rows[kept]] = first_seen_ms[kept]
        self._touched = set()
        seen = np.flatnonzero(self._scaled[0].any(axis=1)).astype(np.int32)
        for column, top in self._tops.items():
            top.clear()
            top.sort_in(seen, self._scaled[0][:, column])


class _Top:
    """The heaviest rows by one column of weights, kept exact by sorting in only the rows that were touched."""

    def __init__(self, n_items: int) -> None:
        self.rows: Rows = np.empty(0, np.int32)
        self._member = np.zeros(n_items, np.bool_)

    def sort_in(self, touched: Rows, all_weights: npt.NDArray[np.float64]) -> None:
        pool = np.concatenate([self.rows, np.sort(touched[~self._member[touched]])])
        weights = all_weights[pool]
        order = np.argsort(-weights, kind="stable")  # almost in order, which this sort is quick with
        falling = weights[order]
        if (falling[1:] == falling[:-1]).any():
            order = np.lexsort((pool, -weights))
        self._replace(pool[order[:_TOP]])

    def clear(self) -> None:
        self._replace(np.empty(0, np.int32))

    def _replace(self, rows: Rows) -> None:
        self._member[self.rows] = False
        self._member[rows] = True
        self.rows = rows
