"""How much each source of candidates should count for when their lists are merged; knows lists, no source.

The merge is reciprocal rank fusion, whose only free numbers are the weights of the sources. They are few, and an
evaluation over cached lists costs milliseconds, so they are searched for one by one, without gradients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.float64]
_FACTORS = (4.0, 0.25, 2.0, 0.5, 1.25, 0.8)  # what a weight is multiplied with in a try
_LEAST, _MOST = 0.01, 10.0  # of a weight
_ROUNDS = 8
_TOP = 20  # the part of the list that a page shows
_LEAST_GAIN = 1e-5
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class MergeCases:
    """Lists of all sources at the moment before recorded choices.

    Candidates of all cases lie end to end: `gains` (n_candidates, n_sources) float32 is what the rank in a source adds
    at weight 1, 0 where the source did not have it. A case owns `begins[i]:begins[i + 1]`, at least one;
    `targets` (n_cases,): where in `gains` the item chosen is, -1 where no source had it.
    """

    sources: tuple[str, ...]
    gains: Floats
    begins: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, which: npt.NDArray[np.intp]) -> "MergeCases":
        """Only the cases at these places."""
        sizes = np.diff(self.begins)[which]
        begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        shifts = self.begins[which] - begins[:-1]
        candidates = np.arange(begins[-1]) + np.repeat(shifts, sizes)
        targets = np.where(self.targets[which] < 0, -1, self.targets[which] - shifts)
        return MergeCases(self.sources, self.gains[candidates], begins, targets)

    def places(self, weights: Floats) -> Places:
        """(n_cases,) where the merge puts the target, from 1 on; infinite where no source had it."""
        scores = self.gains @ weights
        found = self.targets >= 0
        wanted = np.where(found, scores[self.targets], np.inf).astype(np.float32)
        wanted_of_each = np.repeat(wanted, np.diff(self.begins))
        better = np.add.reduceat(scores > wanted_of_each, self.begins[:-1], dtype=np.int64)
        alike = np.add.reduceat(scores == wanted_of_each, self.begins[:-1], dtype=np.int64)
        return np.where(found, better + (alike + 1) / 2, np.inf)  # ties: in the middle of them


class MergeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one set of weights: how often the item chosen was so far up in the merged list."""

    recall_20: float
    recall_all: float  # among the candidates handed to ranking


class MergeWeights(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt; figures are of the half of the cases that was not learnt from."""

    weights: dict[str, float]
    n_cases: int
    kept: bool  # False: what was learnt was no better than the weights it began with, which these are
    before: MergeFigures
    after: MergeFigures


def learn_weights(
    cases: MergeCases, start: dict[str, float], n_candidates: int, seed: int, progress: Progress = lambda *_: None
) -> MergeWeights:
    """Weights for which the item chosen is among the first `n_candidates` more often, and further up.

    Searched for from `start` on one half of the cases. On the other half they must be better than `start`, without
    losing any recall among the candidates; else `start` it is. A source of which no case has anything keeps its weight.
    """
    order = np.random.default_rng(seed).permutation(len(cases))
    ours, theirs = (cases.take(np.sort(half)) for half in np.array_split(order, 2))
    first = np.array([start[source] for source in cases.sources], np.float32)
    found = _search(ours, first, n_candidates, progress) if len(theirs) else first
    before, after = figures(theirs, first, n_candidates), figures(theirs, found, n_candidates)
    better = _worth(theirs, found, n_candidates) > _worth(theirs, first, n_candidates)
    kept = bool(better and after.recall_all >= before.recall_all)
    if not kept:
        return MergeWeights(weights=start, n_cases=len(cases), kept=False, before=before, after=before)
    learnt = {source: round(float(weight), 4) for source, weight in zip(cases.sources, found, strict=True)}
    return MergeWeights(weights=start | learnt, n_cases=len(cases), kept=True, before=before, after=after)


def figures(cases: MergeCases, weights: Floats, n_candidates: int) -> MergeFigures:
    """Of these weights on these cases; zeros where there is none."""
    places = cases.places(weights) if len(cases) else np.full(1, np.inf)
    return MergeFigures(
        recall_20=float(np.mean(places <= _TOP)), recall_all=float(np.mean(places <= n_candidates))
    )  # fmt: skip


def _search(cases: MergeCases, weights: Floats, n_candidates: int, progress: Progress) -> Floats:
    """Multiplies one weight at a time, for as long as that helps."""
    tried = range(len(weights)) if len(cases) else range(0)
    present = [at for at in tried if cases.gains[:, at].any()]
    best = _worth(cases, weights, n_candidates)
    for done in range(_ROUNDS):
        before = best
        for at in present:
            for factor in _FACTORS:
                other = weights.copy()
                other[at] = np.clip(other[at] * factor if other[at] else 1.0 / factor, _LEAST, _MOST)
                worth = _worth(cases, other, n_candidates)
                if worth > best + _LEAST_GAIN:
                    best, weights = worth, other
        progress(done + 1, _ROUNDS, f"worth {best:.4f}")
        if best <= before:
            break
    return _scaled(weights, present)


def _scaled(weights: Floats, present: Sequence[int]) -> Floats:
    """The heaviest of those that were learnt weighs 1: what counts are ratios, also to those that could not be."""
    heaviest = max((float(weights[at]) for at in present), default=0.0)
    if not heaviest:
        return weights
    scaled = weights.copy()
    scaled[list(present)] /= np.float32(heaviest)
    return scaled


def _worth(cases: MergeCases, weights: Floats, n_candidates: int) -> float:
    """Recall at three depths, each smoothed: a step of an item past an edge is not all or nothing."""
    if not len(cases):
        return 0.0
    places = cases.places(weights)
    depths = (n_candidates, max(1.0, n_candidates / 5), _TOP)
    return float(np.mean([np.mean(1.0 / (1.0 + (places / depth) ** 4)) for depth in depths]))
