"""Candidate lists whose right order is known: one cross column plus a taste of the user for one side of the items."""

import numpy as np

from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists


def planted_lists(
    n_lists: int = 300, n_candidates: int = 40, seed: int = 0, shortest: int | None = None
) -> RankerLists:
    """The target has the largest `2 cross[0] + 3 sign(user[0]) item[0]`; the other columns say nothing.

    Columns have odd units on purpose (means of 100, deviations of 7). Lists may be cut, down to `shortest`.
    """
    rng = np.random.default_rng(seed)
    items = np.random.default_rng(99).normal(size=(500, 5)).astype(np.float32)  # one catalogue for all seeds
    users = rng.normal(size=(n_lists, 4)).astype(np.float32)
    rows = np.stack([rng.choice(500, n_candidates, replace=False) for _ in range(n_lists)]).astype(np.int32)
    cross = rng.normal(size=(n_lists, n_candidates, 3)).astype(np.float32)
    truth = 2 * cross[:, :, 0] + 3 * np.sign(users[:, None, 0]) * items[rows][:, :, 0]
    if shortest is not None:
        short = np.arange(n_candidates) >= rng.integers(shortest, n_candidates + 1, n_lists)[:, None]
        rows[short], truth[short] = -1, -np.inf
    target = truth.argmax(axis=1).astype(np.int32)
    return RankerLists(100 + 7 * items, 7 * users - 100, rows, 7 * cross + 100, target)


def small_config(**changes) -> RankerConfig:
    small = {
        "first_width": 32,
        "hidden": (32, 16, 16),
        "exits": (1, 2, 3),
        "dropout": 0.0,
        "item_dropout": 0.0,
        "sampled_candidates": 20,
        "batch_lists": 16,
        "learning_rate": 1e-2,
        "epochs": 3,
    }
    return RankerConfig(**(small | changes))


def random_ranker(config: RankerConfig, lists: RankerLists) -> RankerDnn:
    """An untrained ranker with random heads, so that every layer shows in the score; seed torch beforehand."""
    model = RankerDnn(
        config,
        n_item_inputs=lists.item_inputs.shape[1],
        n_user_inputs=lists.user.shape[1],
        n_cross_inputs=lists.cross.shape[2],
    )
    for head in model.heads.parameters():
        head.data.normal_()
    model.wide.weight.data.normal_(std=0.1)
    return model.eval()
