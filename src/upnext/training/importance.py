"""What each input of a ranker is worth, and which of them are much the same; knows not what the inputs mean.

Permutation importance: Breiman, "Random Forests" (2001); Fisher, Rudin, Dominici, "All Models are Wrong, but Many are
Useful" (JMLR 2019). Its known weakness: of two inputs that say nearly the same each looks worthless while the other is
there, so the credit is split. Near-duplicates are therefore left out before (`redundant`); what is less alike than that
still shares its credit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from upnext.features.spec import Chosen, FeatureSpec
from upnext.models.ranker_lists import RankerLists
from upnext.training.metrics import places_in_scores
from upnext.training.probe import Score

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Side = Literal["cross", "user", "item"]
_PART: dict[Side, str] = {"cross": "cross", "user": "user", "item": "item_inputs"}
_ALIKE = 0.98
_LOOKED_AT = 400  # lists that correlations are taken of


class Feature(NamedTuple):
    """One input; a name may be there on several sides."""

    side: Side
    name: str


@dataclass(frozen=True, slots=True)
class Worth:
    """How much NDCG@10 drops without an input, and the standard error of that over the lists."""

    drop: float
    error: float


def features_of(chosen: Chosen) -> list[Feature]:
    """All engineered inputs, side by side in the order of their columns."""
    sides: list[tuple[Side, tuple[str, ...]]] = [("cross", chosen.cross), ("user", chosen.user), ("item", chosen.item)]
    return [Feature(side, name) for side, names in sides for name in names]


def chosen_of(features: Sequence[Feature]) -> Chosen:
    """The same the other way round."""
    names = {side: tuple(each.name for each in features if each.side == side) for side in _PART}
    return Chosen(cross=names["cross"], user=names["user"], item=names["item"])


def bare(chosen: Chosen) -> FeatureSpec:
    """A spec of engineered inputs alone, without vectors and genres."""
    return FeatureSpec(user=chosen.user, item=chosen.item, cross=chosen.cross)


def with_columns(lists: RankerLists, given: FeatureSpec, wanted: FeatureSpec) -> RankerLists:
    """The lists with the inputs that `wanted` names, in its order, of those that `given` says they have.

    Raises `ValueError` for one that they do not have.
    """
    cross = lists.cross
    if wanted.cross != given.cross:  # which is most of the memory
        cross = cross[:, :, [given.cross.index(name) for name in wanted.cross]]
    user = [given.user.index(name) for name in wanted.user]
    item = [given.item.index(name) for name in wanted.item]
    return replace(lists, cross=cross, user=lists.user[:, user], item_inputs=lists.item_inputs[:, item])


def gains(score: Score, lists: RankerLists) -> Doubles:
    """(n_lists,) NDCG@10 of each list."""
    places = places_in_scores(score(lists), lists.target)
    return np.where(places < 10, 1 / np.log2(np.minimum(places, 10) + 2.0), 0.0)


def permutation_importance(
    score: Score,
    lists: RankerLists,
    features: Sequence[Feature],
    *,
    repeats: int,
    seed: int,
    progress: Callable[[int, int, str], None] = lambda done, total, remark: None,
) -> list[Worth]:
    """What each of `features` is worth to `score`, on lists that it was not trained on.

    `features` are the columns of `lists`, in order: cross, then user, then item. A cross input is shuffled among the
    candidates of each list, a user's among the lists, an item's among the items; `repeats` times, the same shuffles for
    all inputs of a side. Works on a copy.
    """
    work = replace(
        lists, cross=lists.cross.astype(np.float32), user=lists.user.copy(), item_inputs=lists.item_inputs.copy()
    )
    shuffles = [_shuffles(lists, np.random.default_rng([seed, number])) for number in range(repeats)]
    whole, worths = gains(score, lists), list[Worth]()
    at: dict[Side, int] = {"cross": 0, "user": 0, "item": 0}
    for done, feature in enumerate(features, 1):
        column = getattr(work, _PART[feature.side])[..., at[feature.side]]
        at[feature.side] += 1
        original, lost = column.copy(), np.zeros(len(lists))
        for shuffle in shuffles:
            column[:] = shuffle[feature.side](original)
            lost += (whole - gains(score, work)) / repeats
        column[:] = original
        worths.append(Worth(float(lost.mean()), float(lost.std() / np.sqrt(len(lists)))))
        progress(done, len(features), f"{feature.name} {worths[-1].drop:+.4f}")
    return worths


def _shuffles(lists: RankerLists, rng: np.random.Generator) -> dict[Side, Callable[[Any], Any]]:
    """For each side, what shuffles one of its columns; padded places, which are last, stay last."""
    keys = rng.random(lists.rows.shape)
    keys[lists.rows < 0] = 2.0
    within, among = np.argsort(keys, axis=1, kind="stable"), rng.permutation(len(lists))
    items = rng.permutation(len(lists.item_inputs))
    return {
        "cross": lambda column: np.take_along_axis(column, within, axis=1),
        "user": lambda column: column[among],
        "item": lambda column: column[items],
    }


def redundant(lists: RankerLists, features: Sequence[Feature]) -> dict[Feature, Feature | None]:
    """The inputs that say nothing of their own: each with an earlier one that is kept and much the same (|r| > 0.98).

    None for one that does not vary at all: a cross input within any list, a user's among the lists, an item's among
    the items of the lists.
    """
    found: dict[Feature, Feature | None] = {}
    for side in _PART:
        own = [each for each in features if each.side == side]
        for feature, other in _alike(_sample(lists, side)).items():
            found[own[feature]] = None if other is None else own[other]
    return found


def _sample(lists: RankerLists, side: Side) -> Doubles:
    """(n, n_columns) centred values."""
    values: Doubles
    if side == "cross":
        values, valid = lists.cross[:_LOOKED_AT].astype(np.float64), lists.rows[:_LOOKED_AT] >= 0
        values[~valid] = 0.0
        values -= values.sum(axis=1, keepdims=True) / valid.sum(axis=1)[:, None, None]
        return values[valid]
    raw = lists.user if side == "user" else lists.item_inputs[np.unique(lists.rows[lists.rows >= 0])]
    values = raw.astype(np.float64)
    values -= values.mean(axis=0)
    return values


def _alike(centred: Doubles) -> dict[int, int | None]:
    """Columns to leave out, each with the earlier one that stays; None for a constant."""
    spread = np.sqrt((centred**2).mean(axis=0)) if len(centred) else np.zeros(centred.shape[1])
    varies = spread > 1e-6
    scaled = centred / np.where(varies, spread, 1.0)
    alike = np.abs(scaled.T @ scaled) / max(1, len(centred)) > _ALIKE
    left_out: dict[int, int | None] = {}
    for column in range(centred.shape[1]):
        if not varies[column]:
            left_out[column] = None
            continue
        earlier = [other for other in np.flatnonzero(alike[column, :column]).tolist() if other not in left_out]
        if earlier:
            left_out[column] = earlier[0]
    return left_out
