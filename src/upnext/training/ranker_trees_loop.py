"""Grows boosted trees on the same lists that the ranker network learns from; knows not where lists come from.

LambdaMART (Burges, "From RankNet to LambdaRank to LambdaMART", 2010) as XGBoost's `rank:ndcg`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from upnext.errors import TrainingError
from upnext.features.spec import FeatureSpec
from upnext.features.tree_inputs import plain_columns, tree_column_names, tree_rows
from upnext.models.ranker_lists import RankerLists
from upnext.models.ranker_trees import RankerTrees, TreesConfig
from upnext.training.ranker_batches import draw_places
from upnext.training.session_loop import Progress

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


def train_trees(
    lists: RankerLists, spec: FeatureSpec, config: TreesConfig, *, seed: int, progress: Progress | None = None
) -> RankerTrees:
    """Grows trees that put each list's target first; as many as did best by NDCG@10 on held-out lists.

    `spec` names the columns of `lists`. One seed gives one result on one machine. Raises TrainingError for fewer than
    two lists.
    """
    if len(lists) < 2:
        raise TrainingError(f"{len(lists)} lists are too few to train a ranker; widen the period they are taken from")
    rng = np.random.default_rng([seed, 0])
    order = rng.permutation(len(lists))
    n_held_out = min(max(1, round(config.held_out_share * len(lists))), len(lists) - 1)
    names = tree_column_names(spec)
    parts = [
        _matrix(lists.take(numbers), spec, names, config.sampled_candidates, rng)
        for numbers in (order[n_held_out:], order[:n_held_out])
    ]
    booster = xgboost.train(
        _parameters(config, seed),
        parts[0],
        num_boost_round=config.exits[-1],
        evals=[(parts[1], "held_out")],
        early_stopping_rounds=config.patience,
        verbose_eval=False,
        callbacks=[_Told(progress, config.exits[-1])] if progress else None,
    )
    n_trees = booster.best_iteration + 1
    exits = (*(count for count in config.exits if count < n_trees), n_trees)
    best = booster[:n_trees]
    gains = {name: float(np.sum(gain)) for name, gain in best.get_score(importance_type="total_gain").items()}
    return RankerTrees(
        bytes(best.save_raw("ubj")), exits, names, dict(sorted(gains.items(), key=lambda each: -each[1]))
    )


def list_rows(lists: RankerLists, number: int, spec: FeatureSpec) -> Floats:
    """The input rows (n_valid, n_columns) of one list, without its padding."""
    valid = lists.rows[number] >= 0
    return _rows(lists, spec, np.full(int(valid.sum()), number), np.flatnonzero(valid))


def score_lists_with_trees(trees: RankerTrees, lists: RankerLists, spec: FeatureSpec, n_trees: int) -> Floats:
    """Scores (n_lists, n_candidates) float32 by the first `n_trees`; -inf at padded places."""
    booster = xgboost.Booster(model_file=bytearray(trees.model))
    scores = np.full(lists.rows.shape, -np.inf, np.float32)
    for number, rows in enumerate(lists.rows):
        found = booster.inplace_predict(
            list_rows(lists, number, spec), iteration_range=(0, n_trees), validate_features=False
        )
        scores[number, rows >= 0] = found
    return scores


def _rows(lists: RankerLists, spec: FeatureSpec, numbers: Indices, places: Indices) -> Floats:
    cross = lists.cross[numbers, places].astype(np.float32)
    user = lists.user[:, plain_columns(spec.user)][numbers]
    item = lists.item_inputs[:, plain_columns(spec.item)][lists.rows[numbers, places]]
    return tree_rows(cross, user, item)


def _matrix(
    lists: RankerLists, spec: FeatureSpec, names: list[str], n_sampled: int, rng: np.random.Generator
) -> "xgboost.DMatrix":
    drawn = draw_places(lists.rows >= 0, lists.target, n_sampled, rng)
    valid = np.take_along_axis(lists.rows, drawn, axis=1) >= 0
    numbers = np.repeat(np.arange(len(lists)), valid.sum(axis=1))
    places = drawn[valid]
    return xgboost.DMatrix(
        _rows(lists, spec, numbers, places),
        label=places == lists.target[numbers],
        qid=numbers,
        weight=lists.counts(),
        feature_names=names,
    )


def _parameters(config: TreesConfig, seed: int) -> dict[str, Any]:
    return {
        "objective": "rank:ndcg",
        "eval_metric": "ndcg@10",
        "eta": config.learning_rate,
        "max_depth": config.depth,
        "min_child_weight": config.leaf_weight,
        "subsample": config.row_share,
        "colsample_bytree": config.column_share,
        "tree_method": "hist",
        "seed": seed,
        "verbosity": 0,
    }


class _Told(xgboost.callback.TrainingCallback):
    """Says after every tree how good it is."""

    def __init__(self, progress: Progress, most: int) -> None:
        self._progress = progress
        self._most = most

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        judged = next(iter(evals_log["held_out"].values()))[-1]
        self._progress(epoch + 1, self._most, f"held-out NDCG@10 {judged:.4f}")
        return False
