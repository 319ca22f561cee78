"""A small ranker that is trained in seconds, to ask what inputs are worth; it never serves.

One hidden layer over the engineered inputs alone, without the raw vectors, beside a linear part that starts at the
prior: large enough to use a column in company with others, small enough to be trained for every point of a curve.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from upnext.models.ranker_lists import RankerLists
from upnext.training.prior import Prior, best_prior
from upnext.training.ranker_batches import draw_places
from upnext.training.session_loop import one_cycle

Floats = npt.NDArray[np.float32]
Score = Callable[[RankerLists], Floats]
"""Scores (n_lists, n_candidates) of all candidates of some lists, -inf at padded places."""
_WIDTH = 48
_EPOCHS = 8
_FEWEST_STEPS = 100  # of which few lists make more epochs
_BATCH_LISTS = 32
_SAMPLED = 64  # candidates of a list in one step, the target among them
_LEARNING_RATE = 4e-3
_WEIGHT_DECAY = 0.05
_DROPOUT = 0.1
_LISTS_AT_ONCE = 64
_STATISTICS_LISTS = 400  # looked at for the mean and deviation of the cross columns


class _Probe(nn.Module):
    """Standardised inputs of all three sides into one layer; a side without columns adds nothing."""

    def __init__(self, lists: RankerLists, prior: Prior) -> None:
        super().__init__()
        seen = lists.cross[:_STATISTICS_LISTS][lists.rows[:_STATISTICS_LISTS] >= 0].astype(np.float32)
        sides = {"item": lists.item_inputs, "user": lists.user, "cross": seen}
        self.scales = {name: _standardisation(values) for name, values in sides.items()}
        self.sides = nn.ModuleDict(
            {name: nn.Linear(values.shape[1], _WIDTH) for name, values in sides.items() if values.shape[1]}
        )
        self.dropout = nn.Dropout(_DROPOUT)
        self.hidden, self.head = nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, 1, bias=False)
        self.wide = nn.Linear(seen.shape[1], 1, bias=False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.wide.weight)
        scale = float(self.scales["cross"][1][prior.column])
        with torch.no_grad():
            self.wide.weight[0, prior.column] = prior.weight / scale if scale > 0 else 0.0

    def side(self, name: str, values: Tensor) -> Tensor | float:
        mean, scale = self.scales[name]
        return self.sides[name]((values - mean) * scale) if name in self.sides else 0.0

    def forward(self, item: Tensor | float, user: Tensor | float, cross: Tensor) -> Tensor:
        """Scores (B, m); `item` (B, m, w) and `user` (B, 1, w) as `side` gives them, `cross` (B, m, d) raw."""
        mean, scale = self.scales["cross"]
        standard = (cross - mean) * scale
        x = torch.relu(self.sides["cross"](standard) + item + user)
        x = torch.relu(self.hidden(self.dropout(x)))
        scores: Tensor = self.head(x)[..., 0] + self.wide(standard)[..., 0]
        return scores


def fit_probe(lists: RankerLists, *, seed: int) -> Score:
    """Trains on all of `lists`; what scores with the result. Untrained it orders by their best cross column.

    On the CPU; one seed gives one result on one machine with one number of threads.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = _Probe(lists, best_prior(lists, seed=seed))
        optimizer = torch.optim.AdamW(probe.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        rng = np.random.default_rng([seed, 7])
        n_steps = -(-len(lists) // _BATCH_LISTS)
        n_epochs = max(_EPOCHS, -(-_FEWEST_STEPS // n_steps))
        probe.train()
        for epoch in range(n_epochs):
            order = rng.permutation(len(lists))
            for step in range(n_steps):
                rate = one_cycle((epoch + step / n_steps) / n_epochs)
                for group in optimizer.param_groups:
                    group["lr"] = rate * _LEARNING_RATE
                loss = _loss(probe, lists, order[step * _BATCH_LISTS : (step + 1) * _BATCH_LISTS], rng)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        probe.eval()
    return lambda asked: _scores(probe, asked)


def _loss(probe: _Probe, lists: RankerLists, chosen: npt.NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    places = draw_places(lists.rows[chosen] >= 0, lists.target[chosen], _SAMPLED, rng)
    rows = lists.rows[chosen[:, None], places]
    cross = torch.from_numpy(lists.cross[chosen[:, None], places].astype(np.float32))
    item = probe.side("item", torch.from_numpy(lists.item_inputs[np.maximum(rows, 0)]))
    user = probe.side("user", torch.from_numpy(lists.user[chosen][:, None]))
    scores = probe(item, user, cross).masked_fill(torch.from_numpy(rows < 0), -1e9)
    target = torch.from_numpy((places == lists.target[chosen, None]).argmax(axis=1))
    return functional.cross_entropy(scores, target)


@torch.no_grad()
def _scores(probe: _Probe, lists: RankerLists) -> Floats:
    scores = np.empty(lists.rows.shape, np.float32)
    table = probe.side("item", torch.from_numpy(lists.item_inputs))  # once per item rather than per candidate
    for begin in range(0, len(lists), _LISTS_AT_ONCE):
        part = slice(begin, begin + _LISTS_AT_ONCE)
        rows = torch.from_numpy(np.maximum(lists.rows[part], 0)).long()
        item = table[rows] if isinstance(table, Tensor) else table
        user = probe.side("user", torch.from_numpy(lists.user[part][:, None]))
        found = probe(item, user, torch.from_numpy(lists.cross[part].astype(np.float32, copy=False)))
        scores[part] = np.where(lists.rows[part] >= 0, found.numpy(), -np.inf)
    return scores


def _standardisation(values: Floats) -> tuple[Tensor, Tensor]:
    """Mean and 1 / deviation of each column, 0 for one that does not vary."""
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-6 * (1 + np.abs(mean))
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(scale.astype(np.float32))
