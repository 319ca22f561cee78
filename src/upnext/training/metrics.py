"""Ranking metrics over many cases at once, one right item per case; knows no system and no data set.

A place is the 0-based position of the right item in a ranking. A right item that is not in the ranking has the place
MISSED, which no cut-off reaches. With one right item per case, recall@k and HR@k are the same number.
"""

import numpy as np
import numpy.typing as npt

MISSED = np.iinfo(np.int64).max
"""The place of a right item that was not ranked at all."""

Places = npt.NDArray[np.int64]


def places_in_rows(rows: npt.NDArray[np.integer], targets: npt.NDArray[np.integer]) -> Places:
    """Where each target stands: `rows` (n_cases, k) ranked item rows, best first, -1 padding; `targets` (n_cases,).

    Returns (n_cases,) int64, MISSED where the target is absent. Of a repeated item the first place counts.
    """
    hits = rows == targets[:, None]
    if not hits.shape[1]:
        return np.full(len(targets), MISSED, dtype=np.int64)
    return np.where(hits.any(axis=1), hits.argmax(axis=1), MISSED)


def places_in_scores(scores: npt.NDArray[np.floating], targets: npt.NDArray[np.integer]) -> Places:
    """Where each target stands among `scores` (n_cases, n_items): after every item that scores as much or more.

    Pessimistic on ties, so that a model which scores all items alike earns nothing and the order of a sort plays no
    part. NaN counts as the lowest score, for the target and its rivals; a target of NaN or -inf is MISSED.
    """
    clean = np.where(np.isnan(scores), -np.inf, scores)
    own = clean[np.arange(len(targets)), targets]
    places = (clean >= own[:, None]).sum(axis=1) - 1
    return np.where(np.isneginf(own), MISSED, places)


def hit_rate(places: Places, k: int) -> float:
    """HR@k, which is also recall@k: the share of cases whose target is among the first k. 0.0 for no cases."""
    return float((places < k).mean()) if len(places) else 0.0


def ndcg(places: Places, k: int) -> float:
    """NDCG@k with one relevant item: 1 / log2(place + 2) inside the first k, else 0; averaged. 0.0 for no cases."""
    inside = places[places < k]
    return float((1.0 / np.log2(inside + 2.0)).sum()) / len(places) if len(places) else 0.0


def mrr(places: Places, k: int) -> float:
    """MRR@k: 1 / (place + 1) inside the first k, else 0; averaged. 0.0 for no cases."""
    inside = places[places < k]
    return float((1.0 / (inside + 1.0)).sum()) / len(places) if len(places) else 0.0


def coverage(rows: npt.NDArray[np.integer], n_items: int) -> float:
    """The share of the `n_items` items that stand in at least one of `rows` (n_cases, k), -1 padding left out."""
    return len(np.unique(rows[rows >= 0])) / n_items if n_items else 0.0
