"""What a session encoder reads of one event beside its item: which action, how long after the last, of what value.

The three are added to the item's vector outside the encoder's graph, so that a graph of anybody's own, with an item
vector for its input, can take its place.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
N_GAPS = 24
"""Buckets of the time since the user's last event: 0 unknown, then by powers of two of a second, about 97 days most."""
UNKNOWN_GAP_MS = -1


def gap_buckets(gaps_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """(n,) uint8 for milliseconds since the user's last event; below 0 for none.

    Bucket b from 1 on holds gaps of [2^(b-1) - 1, 2^b - 1) seconds, the last one all that are longer.
    """
    buckets = np.frexp(1.0 + np.maximum(gaps_ms, 0) // 1_000)[1]  # the exponent: exact, which a logarithm is not
    return np.where(gaps_ms < 0, 0, np.minimum(buckets, N_GAPS - 1)).astype(np.uint8)


def value_buckets(values: Floats, edges: Floats) -> npt.NDArray[np.uint8]:
    """(n,) uint8: 0 for NaN, else 1 + how many of the rising `edges` are at or below the value."""
    buckets = 1 + np.searchsorted(edges, np.where(np.isnan(values), 0, values), side="right")
    return np.where(np.isnan(values), 0, buckets).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class InputTables:
    """Vectors added to an item's, (n, dim) float32 each, by action code, gap bucket and value bucket; None adds none.

    An action without a row, and one whose row nothing was learnt of and is zero, adds nothing.
    """

    actions: Floats | None = None
    gaps: Floats | None = None
    values: Floats | None = None
    value_edges: Floats = field(default_factory=lambda: np.empty(0, np.float32))

    def added(self, actions: npt.NDArray[np.uint8], gaps_ms: npt.NDArray[np.int64], values: Floats) -> Floats | None:
        """(n, dim) float32 to add to the item vectors of n events; None where there is nothing to add."""
        parts: list[Floats] = []
        if self.actions is not None:
            rows = self.actions.take(actions, axis=0, mode="clip")
            rows[actions >= len(self.actions)] = 0.0
            parts.append(rows)
        if self.gaps is not None:
            parts.append(self.gaps.take(gap_buckets(gaps_ms), axis=0, mode="clip"))
        if self.values is not None:
            parts.append(self.values.take(value_buckets(values, self.value_edges), axis=0, mode="clip"))
        total: Floats | None = None
        for part in parts:
            total = part if total is None else np.add(total, part, out=total)
        return total


class OneEvent:
    """`InputTables` for one event at a time: the same sums without an array made for it. 1 µs."""

    def __init__(self, tables: InputTables) -> None:
        """At least one of the tables must be there."""
        first = next(table for table in (tables.actions, tables.gaps, tables.values) if table is not None)
        none = np.zeros((1, first.shape[1]), np.float32)
        actions = none if tables.actions is None else np.vstack([tables.actions, none])
        gaps = np.repeat(none, N_GAPS, axis=0) if tables.gaps is None else tables.gaps
        self._sums = actions[:, None] + gaps[None]  # (n_actions + 1, N_GAPS, dim)
        self._last_action = len(actions) - 1
        self._values = tables.values
        self._edges: list[float] = tables.value_edges.tolist()

    def added(self, action: int, gap_ms: int, value: float) -> Floats:
        """(dim,) float32: the one row of `InputTables.added`. Not to be written to."""
        gap = 0 if gap_ms < 0 else min((1 + gap_ms // 1_000).bit_length(), N_GAPS - 1)
        total: Floats = self._sums[min(action, self._last_action), gap]
        if self._values is None:
            return total
        bucket = 0 if value != value else 1 + bisect_right(self._edges, value)
        row: Floats = self._values[min(bucket, len(self._values) - 1)]
        return total + row
