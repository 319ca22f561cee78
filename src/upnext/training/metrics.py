"""Ranking metrics over many cases at once, one right item per case; knows no system and no data set.

A place is the 0-based position of the right item in a ranking. A right item that is not in the ranking has the place
MISSED, which no cut-off reaches. With one right item per case, recall@k and HR@k are the same number.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

MISSED = np.iinfo(np.int64).max
"""The place of a right item that was not ranked at all."""

Places = npt.NDArray[np.int64]
Gains = npt.NDArray[np.float64]


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


def hits(places: Places, k: int) -> Gains:
    """What each case adds to HR@k: 1 where the target is among the first k, else 0."""
    return (places < k).astype(np.float64)


def discounts(places: Places, k: int) -> Gains:
    """What each case adds to NDCG@k with one relevant item: 1 / log2(place + 2) inside the first k, else 0."""
    gains = np.zeros(len(places))
    inside = places < k
    gains[inside] = 1.0 / np.log2(places[inside] + 2.0)
    return gains


def reciprocals(places: Places, k: int) -> Gains:
    """What each case adds to MRR@k: 1 / (place + 1) inside the first k, else 0."""
    gains = np.zeros(len(places))
    inside = places < k
    gains[inside] = 1.0 / (places[inside] + 1.0)
    return gains


_GAINS: dict[str, Callable[[Places, int], Gains]] = {
    "ndcg": discounts, "hr": hits, "mrr": reciprocals, "recall": hits,
}  # fmt: skip


def gains(figure: str, places: Places) -> Gains:
    """What each case adds to the figure of a name like `ndcg@10`, (n_cases,) in 0…1; their mean is the figure.

    Raises KeyError for a name that is no ranking metric with a cut-off.
    """
    name, _, cutoff = figure.partition("@")
    return _GAINS[name](places, int(cutoff))


def hit_rate(places: Places, k: int) -> float:
    """HR@k, which is also recall@k: the mean of `hits`. 0.0 for no cases."""
    return float(hits(places, k).mean()) if len(places) else 0.0


def ndcg(places: Places, k: int) -> float:
    """NDCG@k with one relevant item: the mean of `discounts`. 0.0 for no cases."""
    return float(discounts(places, k).mean()) if len(places) else 0.0


def mrr(places: Places, k: int) -> float:
    """MRR@k: the mean of `reciprocals`. 0.0 for no cases."""
    return float(reciprocals(places, k).mean()) if len(places) else 0.0


def coverage(rows: npt.NDArray[np.integer], n_items: int) -> float:
    """The share of the `n_items` items that stand in at least one of `rows` (n_cases, k), -1 padding left out."""
    return len(np.unique(rows[rows >= 0])) / n_items if n_items else 0.0
