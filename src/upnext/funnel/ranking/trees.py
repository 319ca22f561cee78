"""Scores for candidates by boosted trees; XGBoost is loaded only where a release has them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from upnext.errors import ReleaseError
from upnext.features.probability import Calibration, probabilities
from upnext.features.tree_inputs import tree_rows
from upnext.funnel.answer import RankerInputs
from upnext.funnel.ranking.item_side import Table
from upnext.funnel.ranking.ranker import Floats, Rows, made_up_inputs


class TreeRanker:
    """One model that can stop after several numbers of trees, its exits: `trees50`, `trees150`, …

    Several threads may score at once.
    """

    def __init__(
        self,
        booster: Any,
        items: Table,
        user_columns: Sequence[int],
        *,
        n_user: int,
        n_cross: int,
        exits: Sequence[int],
        default_exit: str,
        chunk: int,
        calibration: Mapping[str, Calibration] | None = None,
    ) -> None:
        """`booster` of `open_booster`; `items` (n_items, width) float32: what it reads of an item.

        `user_columns`: which of the `n_user` user features it reads; `exits`: numbers of trees, ascending.
        """
        self._booster = booster
        self._items = items
        self._user_columns = np.array(user_columns, np.intp)
        self._n_user, self._n_cross = n_user, n_cross
        self._n_trees = {tree_exit(count): count for count in exits}
        self._chunk = chunk
        self._calibration = calibration or {}
        self.exits = tuple(self._n_trees)
        self.default_exit = default_exit

    def with_chunk(self, chunk: int) -> "TreeRanker":
        """The same ranker, with the same trees and items, in chunks of another size."""
        return TreeRanker(
            self._booster, self._items, self._user_columns.tolist(), n_user=self._n_user, n_cross=self._n_cross,
            exits=tuple(self._n_trees.values()), default_exit=self.default_exit, chunk=chunk,
            calibration=self._calibration,
        )  # fmt: skip

    def made_up_inputs(self, n: int) -> RankerInputs:
        """Inputs of `n` candidates from all over the catalogue, to measure with; the same every time."""
        return made_up_inputs(n, len(self._items), self._n_user, self._n_cross)

    def probability(self, scores: Floats, exit_name: str) -> Floats:
        """See `GraphRanker.probability`."""
        return probabilities(scores, self._calibration.get(exit_name, Calibration()))

    def score(self, rows: Rows, user: Floats, cross: Floats, exit_name: str) -> Floats:
        """See `Ranker.score`."""
        n_trees, chosen = self._n_trees[exit_name], user.take(self._user_columns)
        scores = np.empty(len(rows), np.float32)
        for at in range(0, len(rows), self._chunk):
            part = slice(at, at + self._chunk)
            inputs = tree_rows(cross[part], chosen, self._items.take(rows[part], axis=0))
            scores[part] = self._booster.inplace_predict(inputs, iteration_range=(0, n_trees), validate_features=False)
        return scores


def tree_exit(n_trees: int) -> str:
    """What the exit after so many trees is called in releases, settings and responses."""
    return f"trees{n_trees}"


def open_booster(model: bytes) -> Any:
    """XGBoost's model of these bytes (UBJSON or JSON), to be run by the calling thread alone.

    Raises `ReleaseError` where the package is not installed, or does not read the model.
    """
    try:
        import xgboost
    except ImportError as error:
        raise ReleaseError(
            "this release ranks with boosted trees, for which xgboost is missing; "
            "install it with `pip install 'upnext[trees]'`, or activate another release"
        ) from error
    try:
        booster = xgboost.Booster(params={"nthread": 1}, model_file=bytearray(model))
    except xgboost.core.XGBoostError as error:
        reason = str(error).strip().splitlines()[0]
        raise ReleaseError(
            f"the trees cannot be read by xgboost {xgboost.__version__} ({reason}); save them with save_model as .ubj"
        ) from error
    booster.set_param({"nthread": 1})
    return booster
