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

Rows = npt.NDArray[np.int32]


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
        self.first_seen_ms = np.full(n_items, np.iinfo(np.int64).max, np.int64)  # maximum: never
        self._touched: set[int] = set()
        self._sorting = threading.Lock()
        self._top: Rows = np.empty(0, np.int32)
        self._in_top = np.zeros(n_items, np.bool_)

    def observe(self, row: int, timestamp_ms: int) -> None:
        """Counts one interaction; an event older than the landmark counts what is left of it."""
        since_ms = timestamp_ms - self._scaled[1]
        if since_ms > self._renormalize_ms:
            self._move_landmark(timestamp_ms)
            since_ms = 0.0
        weights = self._scaled[0][row]
        for column, half_life_ms in enumerate(self._each_half_life_ms):
            weights[column] += 2.0 ** (since_ms / half_life_ms)
        if timestamp_ms < self.first_seen_ms[row]:
            self.first_seen_ms[row] = timestamp_ms
        if timestamp_ms > self.latest_ms:
            self.latest_ms = timestamp_ms
        self._touched.add(row)

    def observe_many(self, rows: Rows, timestamps_ms: npt.NDArray[np.int64]) -> None:
        """The same for many events at once, in any order."""
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
        decay = np.exp2((landmark_ms - self.latest_ms) / self._half_lives_ms)
        return (weights.take(rows, axis=0) * decay).astype(np.float32)

    def top(self) -> Rows:
        """Up to 2,000 rows that saw an interaction, the most popular (see settings) first; ties by row.

        While another thread sorts them, the same array as last time.
        """
        if self._touched and self._sorting.acquire(blocking=False):
            try:
                self._sort_touched()
            finally:
                self._sorting.release()
        return self._top

    def _sort_touched(self) -> None:
        # Rows leave the set before their weights are read; the observer adds to the weight before: nothing is missed.
        rows = list(self._touched)
        self._touched.difference_update(rows)
        touched = np.array(rows, np.int32)
        pool = np.concatenate([self._top, np.sort(touched[~self._in_top[touched]])])
        weights = self._scaled[0][pool, self._popular]
        order = np.argsort(-weights, kind="stable")  # almost in order, which this sort is quick with
        falling = weights[order]
        if (falling[1:] == falling[:-1]).any():
            order = np.lexsort((pool, -weights))
        self._set_top(pool[order[:_TOP]])

    def _set_top(self, top: Rows) -> None:
        self._in_top[self._top] = False
        self._in_top[top] = True
        self._top = top

    def _move_landmark(self, landmark_ms: int) -> None:
        weights, before_ms = self._scaled
        self._scaled = weights * np.exp2((before_ms - landmark_ms) / self._half_lives_ms), float(landmark_ms)

    def save(self, add_array: Callable[[str, npt.NDArray[Any]], object]) -> None:
        """Hands each part to the writer of a release, named `trends.…`."""
        weights, landmark_ms = self._scaled
        add_array("trends.weights", weights)
        add_array("trends.times_ms", np.array([landmark_ms, self.latest_ms]))
        add_array("trends.first_seen_ms", self.first_seen_ms)
        add_array("trends.top", self.top())

    def load(self, array: Callable[[str], npt.NDArray[Any]]) -> None:
        """Takes over (copies) what `save` handed out; what was observed before is forgotten."""
        landmark_ms, latest_ms = array("trends.times_ms").tolist()
        self._scaled = np.array(array("trends.weights")), landmark_ms
        self.latest_ms = int(latest_ms)
        self.first_seen_ms = np.array(array("trends.first_seen_ms"))
        self._touched = set()
        self._set_top(np.array(array("trends.top")))
