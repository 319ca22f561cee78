"""From all engineered inputs to the few that matter, with the curve that shows what each number of them reaches."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import msgspec
import numpy as np

from upnext.errors import TrainingError
from upnext.features.spec import ITEM, USER, Chosen, FeatureSpec
from upnext.models.ranker_lists import RankerLists
from upnext.training.feature_report import CurvePoint, FeatureLine, FeatureReport
from upnext.training.importance import (
    Feature,
    Worth,
    bare,
    chosen_of,
    features_of,
    gains,
    permutation_importance,
    redundant,
    with_columns,
)  # fmt: skip
from upnext.training.probe import fit_probe

Progress = Callable[[int, int, str], None]
_CURVE = (5, 10, 20, 50)  # numbers of inputs to show beside the kept ones and all of them
_MEASURED_CANDIDATES = 100  # first in the order of retrieval, and the target: where an order is won or lost
FEWEST_LISTS = 60
PRIOR = Feature("cross", "session_score")
STANDING = [*(Feature("user", name) for name in USER), *(Feature("item", name) for name in ITEM)]
"""Inputs that every ranker has."""


class FeatureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the engineered inputs a ranker gets."""

    select: bool = True  # False: the default columns, without looking
    keep: Annotated[int, msgspec.Meta(ge=6)] = 28  # how many, those that every ranker has included
    lists: Annotated[int, msgspec.Meta(ge=1)] = 3_000  # most lists with all of them that are looked at
    repeats: Annotated[int, msgspec.Meta(ge=1)] = 3  # shuffles of each


def select_features(
    lists: RankerLists, spec: FeatureSpec, settings: FeatureSettings, seed: int, progress: Progress
) -> tuple[Chosen, FeatureReport]:
    """The `settings.keep` inputs of `spec` that are worth most to a probe, the session encoder's score always first.

    Of `lists`, whose columns `spec` names, three fifths train probes, one tells what inputs are worth, and the last one
    judges the curve. Near-duplicates are left out beforehand. Raises `TrainingError` for fewer than 60 lists.
    """
    if len(lists) < FEWEST_LISTS:
        raise TrainingError(
            f"{len(lists)} lists are too few to tell features apart; set features.select=false, or import more events"
        )
    features = features_of(spec.chosen())
    lists = with_columns(lists, spec, bare(spec.chosen()))
    parts = np.array_split(np.random.default_rng([seed, 11]).permutation(len(lists)), 5)
    learning, asked, judging = (lists.take(part) for part in (np.concatenate(parts[:3]), parts[3], parts[4]))
    left_out = {each: other for each, other in redundant(learning, features).items() if each not in (PRIOR, *STANDING)}
    rest = [each for each in features if each not in left_out]
    probe = fit_probe(_of(learning, features, rest), seed=seed)
    measured = narrowed(_of(asked, features, rest), _MEASURED_CANDIDATES)
    found = permutation_importance(probe, measured, rest, repeats=settings.repeats, seed=seed, progress=progress)
    worths = dict(zip(rest, found, strict=True))
    ranked = _ranked(rest, worths)
    kept = _kept(ranked, settings.keep)
    curve = _curve(learning, judging, features, ranked, kept, seed, progress)
    lines = [
        FeatureLine(
            side=each.side, name=each.name, importance=worths[each].drop, error=worths[each].error, kept=each in kept
        )
        for each in ranked
    ]
    report = FeatureReport(
        n_features=len(features), n_lists=len(lists), repeats=settings.repeats,
        ndcg_measured=float(gains(probe, measured).mean()), features=lines,
        left_out={f"{each.side}/{each.name}": other.name if other else None for each, other in left_out.items()},
        curve=curve,
    )  # fmt: skip
    return chosen_of([each for each in features if each in kept]), report


def narrowed(lists: RankerLists, n: int) -> RankerLists:
    """The first `n` candidates of each list; where the target is further down, it takes the last place."""
    if lists.n_candidates <= n:
        return lists
    places = np.broadcast_to(np.arange(n), (len(lists), n)).copy()
    below = lists.target >= n
    places[below, -1] = lists.target[below]
    every = np.arange(len(lists))[:, None]
    return replace(
        lists,
        rows=lists.rows[every, places],
        cross=lists.cross[every, places],
        target=np.minimum(lists.target, n - 1).astype(np.int32),
    )


def _of(lists: RankerLists, features: Sequence[Feature], wanted: Sequence[Feature]) -> RankerLists:
    """The lists with the columns of `wanted` alone, which keep their order among `features`."""
    some = [each for each in features if each in wanted]
    return with_columns(lists, bare(chosen_of(features)), bare(chosen_of(some)))


def _ranked(features: Sequence[Feature], worths: dict[Feature, Worth]) -> list[Feature]:
    """The prior first, then those that are worth most; ties by place."""
    return sorted(features, key=lambda each: (each != PRIOR, -worths[each].drop))


def _kept(ranked: Sequence[Feature], n: int) -> list[Feature]:
    must = [each for each in ranked if each == PRIOR or each in STANDING]
    others = [each for each in ranked if each not in must]
    return must + others[: max(0, n - len(must))]


def _curve(
    learning: RankerLists, judging: RankerLists, features: Sequence[Feature], ranked: Sequence[Feature],
    kept: Sequence[Feature], seed: int, progress: Progress,
) -> list[CurvePoint]:  # fmt: skip
    """What a probe reaches that is trained with the best few alone, for several numbers of them."""
    sizes = sorted({n for n in _CURVE if n < len(ranked)} | {len(kept), len(ranked)})
    points = []
    for done, n in enumerate(sizes, 1):
        some = kept if n == len(kept) else ranked[:n]
        score = fit_probe(_of(learning, features, some), seed=seed)
        each = gains(score, _of(judging, features, some))
        error = float(each.std() / np.sqrt(len(each)))
        points.append(CurvePoint(n_features=n, ndcg=float(each.mean()), error=error, kept=n == len(kept)))
        progress(done, len(sizes), f"{n} features: NDCG@10 {points[-1].ndcg:.4f}")
    return points
