"""From scores to ranked rows, exact and the same on every run; knows neither systems nor metrics."""

import numpy as np
import numpy.typing as npt

from upnext.training.sequences import Sequences

Rows = npt.NDArray[np.int32]


def top_rows(scores: npt.NDArray[np.floating], k: int) -> Rows:
    """The k best columns of each line of `scores` (n_cases, n_items), (n_cases, k) int32, best first.

    Of equal scores the lower row stands first, at the edge of the k too. -inf and NaN are never taken; -1 fills up
    where fewer than k are left.
    """
    n_cases, n_items = scores.shape
    width = min(k, n_items)
    ranked = np.full((n_cases, k), -1, dtype=np.int32)
    if not width or not n_cases:
        return ranked
    clean = np.where(np.isnan(scores), -np.inf, scores)
    edge = np.partition(clean, n_items - width, axis=1)[:, n_items - width, None]
    above, equal = clean > edge, clean == edge
    # Partitioning alone would take any of the items that tie at the edge; take those of the lowest rows.
    missing = width - above.sum(axis=1, keepdims=True)
    kept = above | (equal & (np.cumsum(equal, axis=1) <= missing))
    rows = np.nonzero(kept)[1].reshape(n_cases, width)
    values = np.take_along_axis(clean, rows, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best = np.take_along_axis(rows, order, axis=1)
    ranked[:, :width] = np.where(np.isneginf(np.take_along_axis(values, order, axis=1)), -1, best)
    return ranked


def without_seen(scores: npt.NDArray[np.floating], histories: Sequences) -> npt.NDArray[np.floating]:
    """`scores` (n_cases, n_items) with -inf, in place, for every item of the case's own history."""
    case = np.repeat(np.arange(len(scores)), histories.lengths)
    scores[case, histories.items] = -np.inf
    return scores


def drop_rows(rows: Rows, histories: Sequences, n_items: int) -> Rows:
    """`rows` (n_cases, k) without the items of each case's history, the rest moved up, -1 at the end."""
    keys = np.repeat(np.arange(len(rows)), histories.lengths) * n_items + histories.items
    unwanted = np.isin(np.arange(len(rows))[:, None] * n_items + rows, keys) | (rows < 0)
    order = np.argsort(unwanted, axis=1, kind="stable")
    return np.take_along_axis(np.where(unwanted, -1, rows), order, axis=1).astype(np.int32)
