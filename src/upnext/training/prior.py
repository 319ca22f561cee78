"""The one input that a ranker starts from, so that it learns what that one lacks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.models.ranker_lists import RankerLists
from upnext.training.metrics import ndcg, places_in_scores

Floats = npt.NDArray[np.float32]
_MOST_LISTS = 1_000
_STEPS = 2.0 ** np.arange(-3, 5)  # weights tried, in units of one deviation within lists
_CUTOFF = 10
_FIRST = 0  # the session score, see `features/spec.py`
_BETTER = 1.1  # than the session score, before another column takes its place


@dataclass(frozen=True, slots=True)
class Prior:
    """A cross column, and what its raw values are multiplied with to be scores that a softmax reads."""

    column: int
    weight: float


def best_prior(lists: RankerLists, *, seed: int) -> Prior:
    """The first cross column, the session score, or the one that orders lists best alone if it is a tenth better.

    Judged by NDCG@10 on some lists; the weight is that of the least cross-entropy. The session score has a start since
    it alone moves with every click, hover and search: a ranker that begins elsewhere hears less of them.
    """
    order = np.random.default_rng([seed, 11]).permutation(len(lists))[:_MOST_LISTS]
    some = lists.take(np.sort(order))
    shown = some.rows >= 0
    gained = [ndcg(places_in_scores(_column(some, shown, column), some.target), _CUTOFF) for column in _columns(some)]
    best = int(np.argmax(gained))
    best = best if gained[best] > _BETTER * gained[_FIRST] else _FIRST
    return Prior(best, _weight(_column(some, shown, best), shown, some.target))


def _columns(lists: RankerLists) -> range:
    return range(lists.cross.shape[2])


def _column(lists: RankerLists, shown: npt.NDArray[np.bool_], column: int) -> Floats:
    return np.where(shown, lists.cross[:, :, column].astype(np.float32), -np.inf).astype(np.float32)


def _weight(scores: Floats, shown: npt.NDArray[np.bool_], targets: npt.NDArray[np.integer]) -> float:
    """1 for a column that is the same everywhere."""
    deviation = float(np.std(scores[shown]))
    if not deviation > 0:
        return 1.0
    tried = _STEPS / deviation
    return float(tried[int(np.argmin([_cross_entropy(weight * scores, targets) for weight in tried]))])


def _cross_entropy(scores: Floats, targets: npt.NDArray[np.integer]) -> float:
    top = scores.max(axis=1)
    sums = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top
    return float((sums - scores[np.arange(len(targets)), targets]).mean())
