"""Candidates of several sources into one list: distinct, best first, each with the sources it came from.

Reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009), weighted by source: it needs no scores that compare.
"""

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
Sums = npt.NDArray[np.complex64]
_RANK_OFFSET = 60.0  # the constant of the paper: how little the first few ranks count for more than the next


@dataclass(slots=True, frozen=True)
class Candidates:
    """What retrieval found, best fused score first; arrays (n_candidates,)."""

    rows: Rows
    scores: Floats
    sources: npt.NDArray[np.uint16]


class Merger(threading.local):
    """Merges by scattering into an array as long as the catalogue, one per thread, always left zeroed.

    It holds complex numbers: score and source bits of an item lie side by side and are added to in one go, each as
    float32.
    """

    def __init__(self, n_items: int) -> None:
        self._sums: Sums = np.zeros(n_items, np.complex64)
        self._gains: dict[tuple[int, float], Sums] = {}  # by source bit and weight: what each rank adds

    def merge(self, found: list[tuple[int, float, Rows]], cap: int) -> Candidates:
        """At most `cap` distinct candidates from (source bit, weight ≥ 0, distinct rows best first) of each source.

        Ties go to the lower row, so equal inputs give equal lists.
        """
        if not found:
            return Candidates(np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.uint16))
        pool = np.concatenate([rows for _, _, rows in found], dtype=np.intp)  # the type that indexing is fastest with
        gains = np.concatenate([self._gains_of(bit, weight, len(rows)) for bit, weight, rows in found])
        sums = self._sums
        try:
            np.add.at(sums, pool, gains)  # every source has a bit of its own: adding is or-ing
            rows = _best_first(pool, sums.take(pool).real)[:cap]
            best = sums.take(rows)
            return Candidates(rows.astype(np.int32), best.real.copy(), best.imag.astype(np.uint16))
        finally:
            sums[pool] = 0.0

    def _gains_of(self, bit: int, weight: float, n: int) -> Sums:
        gains = self._gains.get((bit, weight))
        if gains is None or len(gains) < n:
            gains = np.empty(2 * n, np.complex64)
            gains.real = gains_of_ranks(2 * n) * np.float32(weight)
            gains.imag = bit
            self._gains[bit, weight] = gains
        return gains[:n]


def gains_of_ranks(n: int) -> Floats:
    """(n,) what each rank in a list, the best first, adds to the score of an item at weight 1."""
    gains: Floats = (1.0 / (_RANK_OFFSET + 1.0 + np.arange(n))).astype(np.float32)
    return gains


def _best_first(rows: Places, scores: Floats) -> Places:
    """The distinct among `rows`, highest score first, ties by row. A row's score (≥ 0) is the same wherever it occurs.

    One sort of integers: floats that are not negative order like their bits, so score and row fit into one key.
    """
    keys = rows - (scores.copy().view(np.int32).astype(np.int64) << 32)
    keys.sort()
    new = np.empty(len(keys), np.bool_)
    new[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    distinct: Places = keys[new] & 0xFFFF_FFFF
    return distinct
