"""Vectors for items that came after a model was trained, learnt against everything it knows, which stays as it is.

They start as the mean of what was chosen around them (things chosen together lie together: Barkan and Koenigstein,
"Item2Vec", 2016) and learn by the softmax that the model was trained with. No model is known here: only vectors.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor

from upnext.training.sequences import Sequences
from upnext.training.session_loop import one_cycle
from upnext.training.softmax import CHUNK_LOGITS, NegativeSampler, full_softmax_loss, sampled_softmax_loss

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
FULL_SOFTMAX_ITEMS, NEGATIVES, POPULARITY_SHARE = 20_000, 2_048, 0.5
_BATCH = 1_024
_JUDGED_SHARE, _MOST_JUDGED = 0.1, 2_000


@dataclass(frozen=True, slots=True)
class Choices:
    """Moments before recorded choices: `queries` (n, D) float32, whose inner products with item vectors are scores,
    and `targets` (n,) int64, the item rows chosen."""

    queries: Floats
    targets: Rows

    def __len__(self) -> int:
        return len(self.targets)


def from_company(
    table: Floats, rows: Rows, known: npt.NDArray[np.bool_], histories: Sequences, window: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """A start for items `rows` (n,): the mean of the vectors of known items among the `window` events on either side.

    `table` (n_items, D), `known` (n_items,). Returns (n, D) float32 and where there was any such item, (n,) bool; the
    others are zero.
    """
    place_of = np.full(len(table), -1, np.int64)
    place_of[rows] = np.arange(len(rows))
    items, owner = histories.items, np.repeat(np.arange(len(histories.lengths)), histories.lengths)
    places, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for distance in range(1, min(window, len(items) - 1) + 1):
        same = owner[distance:] == owner[:-distance]
        for one, other in ((items[distance:], items[:-distance]), (items[:-distance], items[distance:])):
            pairs = same & (place_of[one] >= 0) & known[other]
            places.append(place_of[one[pairs]])
            others.append(other[pairs])
    at = np.concatenate(places), np.concatenate(others)
    times = csr_array((np.ones(len(at[0]), np.float32), at), shape=(len(rows), len(table)))  # adds up the same pairs
    counts = times.sum(axis=1)
    return (times @ table / np.maximum(counts, 1)[:, None]).astype(np.float32), counts > 0


def learn_rows(table: Floats, rows: Rows, choices: Choices, *, epochs: int, learning_rate: float, seed: int) -> Floats:
    """`table` (n_items, D) with `rows` moved so that `choices` become likelier; all other rows are as they were.

    The start and what every epoch leaves are judged on a tenth of the choices, at most 2,000, that is not learnt from;
    the best stays.
    Above 20,000 items negatives are sampled. One seed gives one result on one machine with one number of threads.
    """
    if not len(rows) or len(choices) < 2:
        return table
    rng = np.random.default_rng([seed, 21])
    order = rng.permutation(len(choices))
    n_judged = min(max(1, round(_JUDGED_SHARE * len(choices))), _MOST_JUDGED)
    judged, learning = _part(choices, order[:n_judged]), _part(choices, order[n_judged:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        learner = _Learner(table, rows, choices, learning_rate)
        judge = _Judge(learner.frozen, learner.at, *judged)
        best, least = learner.rows(), judge.loss(learner.new)
        for epoch in range(epochs):
            learner.epoch(*learning, epoch, epochs, rng)
            loss = judge.loss(learner.new)
            if loss < least:
                best, least = learner.rows(), loss
    moved = table.copy()
    moved[rows] = best
    return moved


def _part(choices: Choices, which: Rows) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(choices.queries[which]), torch.from_numpy(choices.targets[which])


class _Judge:
    """The mean cross-entropy of some choices over all rows; what does not move is summed up once."""

    @torch.no_grad()
    def __init__(self, table: Tensor, moving: Tensor, queries: Tensor, targets: Tensor) -> None:
        """`table` (n_items, D), of which the rows `moving` (n,) will be told."""
        self.queries, stays = queries, torch.ones(len(table), dtype=torch.bool)
        stays[moving] = False
        rest = table[stays]
        size = max(1, CHUNK_LOGITS // max(1, len(rest)))
        parts = [queries[begin : begin + size] for begin in range(0, len(queries), size)]
        self.log_sums = torch.cat([torch.logsumexp(some @ rest.T, dim=1) for some in parts])
        self.own = (queries * table[targets]).sum(dim=1)
        place_of = torch.full((len(table),), -1)
        place_of[moving] = torch.arange(len(moving))
        self.places = place_of[targets]

    @torch.no_grad()
    def loss(self, rows: Tensor) -> float:
        """With `rows` (n, D) in the places of those that move."""
        logits = self.queries @ rows.T
        own = torch.where(self.places < 0, self.own, logits.gather(1, self.places.clamp(min=0)[:, None])[:, 0])
        return float((torch.logaddexp(self.log_sums, torch.logsumexp(logits, dim=1)) - own).mean())


class _Learner:
    """New rows as the only parameter of a softmax over all of them."""

    def __init__(self, table: Floats, rows: Rows, choices: Choices, learning_rate: float) -> None:
        self.frozen, self.at = torch.from_numpy(table), torch.from_numpy(rows)
        self.new = torch.nn.Parameter(self.frozen[self.at].clone())
        self.no_bias, self.learning_rate = torch.zeros(len(table)), learning_rate
        self.optimizer = torch.optim.Adam([self.new], lr=learning_rate)
        self.sampler: NegativeSampler | None = None
        if len(table) > FULL_SOFTMAX_ITEMS:
            counts = torch.from_numpy(np.bincount(choices.targets, minlength=len(table)))
            self.sampler = NegativeSampler(counts, NEGATIVES, POPULARITY_SHARE)

    def rows(self) -> Floats:
        return np.array(self.new.detach().numpy(), np.float32)

    def epoch(self, queries: Tensor, targets: Tensor, number: int, epochs: int, rng: np.random.Generator) -> None:
        order = torch.from_numpy(rng.permutation(len(targets)))
        for begin in range(0, len(order), _BATCH):
            some = order[begin : begin + _BATCH]
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * one_cycle((number + begin / len(order)) / epochs)
            self.optimizer.zero_grad(set_to_none=True)
            self._batch_loss(queries[some], targets[some]).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def _batch_loss(self, queries: Tensor, targets: Tensor) -> Tensor:
        if self.sampler is None:
            return full_softmax_loss(queries, self._table(), self.no_bias, targets)
        return sampled_softmax_loss(queries, self._table(), self.no_bias, targets, *self.sampler.draw())

    def _table(self) -> Tensor:
        return self.frozen.index_copy(0, self.at, self.new)
