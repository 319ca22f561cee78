"""What a step of the ranker's training sees: drawn candidates and input statistics; knows no loss."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists

STATISTICS_LISTS = 2_000
"""Lists looked at for the mean and deviation of the cross columns; half a million candidates and more."""


@dataclass(frozen=True, slots=True)
class RankerBatch:
    """Some lists with m candidates each: `item` (B, m, d_item), `user` (B, d_user), `cross` (B, m, d_cross) float32,
    `valid` (B, m) bool, `target` (B,) int64 the place among the m, `labels` (B, n_labelled) float32 of the target with
    NaN for unknown, `weight` (B,) float32; None: no labels, all weights alike."""

    item: Tensor
    user: Tensor
    cross: Tensor
    valid: Tensor
    target: Tensor
    labels: Tensor | None = None
    weight: Tensor | None = None

    def to(self, device: torch.device) -> "RankerBatch":
        moved = {name: part.to(device) for name in self.__slots__ if (part := getattr(self, name)) is not None}
        return RankerBatch(**moved)


def ranker_batches(
    lists: RankerLists,
    numbers: npt.NDArray[np.int64],
    *,
    batch_lists: int,
    sampled_candidates: int,
    rng: np.random.Generator,
) -> Iterator[RankerBatch]:
    """One epoch over the lists of these numbers, each once, in an order drawn by `rng`.

    Of a list come its target and others drawn without replacement, `sampled_candidates` in all; 0, or more than there
    are, takes every one.
    """
    order = rng.permutation(numbers)
    for begin in range(0, len(order), batch_lists):
        chosen = order[begin : begin + batch_lists]
        places = draw_places(lists.rows[chosen] >= 0, lists.target[chosen], sampled_candidates, rng)
        rows = lists.rows[chosen[:, None], places]
        yield RankerBatch(
            item=torch.from_numpy(lists.item_inputs[np.maximum(rows, 0)]),
            user=torch.from_numpy(lists.user[chosen]),
            cross=torch.from_numpy(lists.cross[chosen[:, None], places].astype(np.float32)),
            valid=torch.from_numpy(rows >= 0),
            target=torch.from_numpy((places == lists.target[chosen, None]).argmax(axis=1)),
            labels=None if lists.tasks is None else torch.from_numpy(lists.tasks[chosen]),
            weight=None if lists.weights is None else torch.from_numpy(lists.weights[chosen]),
        )


def draw_places(
    valid: npt.NDArray[np.bool_], targets: npt.NDArray[np.int32], n_sampled: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Places (B, m) to learn from, of lists (B, n): the target always, then valid ones, padded ones only when short."""
    n_lists, n_candidates = valid.shape
    if n_sampled == 0 or n_sampled >= n_candidates:
        return np.broadcast_to(np.arange(n_candidates), valid.shape)
    keys = rng.random(valid.shape, dtype=np.float32)
    keys[~valid] = 2.0
    keys[np.arange(n_lists), targets] = -1.0
    return np.argpartition(keys, n_sampled - 1, axis=1)[:, :n_sampled]


def learn_standardisation(
    model: RankerDnn, lists: RankerLists, numbers: npt.NDArray[np.int64], rng: np.random.Generator
) -> None:
    """Mean and deviation of every input column: items over the catalogue, the rest over (a draw of) these lists."""
    chosen = np.sort(rng.permutation(numbers)[:STATISTICS_LISTS])
    seen = lists.cross[chosen][lists.rows[chosen] >= 0]
    for part, values in (
        (model.item_inputs, lists.item_inputs),
        (model.user_inputs, lists.user[numbers]),
        (model.cross_inputs, seen),
    ):
        part.learn(values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64))
