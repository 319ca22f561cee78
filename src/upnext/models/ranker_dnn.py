"""The multi-exit ranker: one first layer with three sides, hidden layers, a score at several depths; not its training.

A wide linear part over the cross inputs beside each exit after Cheng et al., "Wide & Deep Learning" (2016); exits after
BranchyNet (Teerapittayanon et al., 2016).
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from upnext.models.dropout import Dropout
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_lists import RankerLists


class Standardise(nn.Module):
    """(x - mean) × scale per column, both learnt from data; a column that never varied gives 0 for ever."""

    mean: Tensor
    scale: Tensor

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))

    def learn(self, mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]) -> None:
        """Set both from the mean and standard deviation of each column."""
        varies = deviation > 1e-6 * (1 + np.abs(mean))
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(np.where(varies, 1 / np.where(varies, deviation, 1), 0)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale


class RankerDnn(nn.Module):
    """Scores every candidate on its own: W_item·item + W_user·user + W_cross·cross + b, then layers and exits."""

    def __init__(self, config: RankerConfig, *, n_item_inputs: int, n_user_inputs: int, n_cross_inputs: int) -> None:
        super().__init__()
        self.config = config
        self.item_inputs = Standardise(n_item_inputs)
        self.user_inputs = Standardise(n_user_inputs)
        self.cross_inputs = Standardise(n_cross_inputs)
        self.item_side = nn.Linear(n_item_inputs, config.first_width, bias=False)
        self.user_side = nn.Linear(n_user_inputs, config.first_width)
        self.cross_side = nn.Linear(n_cross_inputs, config.first_width, bias=False)
        layers = [nn.Linear(n, m) for n, m in pairwise((config.first_width, *config.hidden))]
        heads = [nn.Linear(config.hidden[depth - 1], 1, bias=False) for depth in config.exits]
        self.hidden, self.heads = nn.ModuleList(layers), nn.ModuleList(heads)
        self.wide = nn.Linear(n_cross_inputs, len(config.exits), bias=False)
        self.dropout = Dropout(config.dropout)
        for layer in layers[config.exits[0] :]:
            if layer.in_features == layer.out_features:  # deeper exits start as the one before them
                nn.init.eye_(layer.weight)
                nn.init.zeros_(layer.bias)
        for linear in (*heads, self.wide):
            nn.init.zeros_(linear.weight)

    def start_from_prior(self) -> None:
        """Make the untrained ranker order by the prior column; call once the standardisation is known."""
        column = self.config.prior_column
        if column is not None and self.cross_inputs.scale[column] > 0:
            with torch.no_grad():
                self.wide.weight[:, column] = self.config.prior_weight / self.cross_inputs.scale[column]

    def forward(self, item: Tensor, user: Tensor, cross: Tensor, shown: Tensor | None = None) -> Tensor:
        """Scores (n_exits, B, n) of items (B, n, d_item) for users (B, d_user) with cross inputs (B, n, d_cross).

        All raw, not standardised. Where `shown` (B, n, 1) is 0 the item's own inputs count as average.
        """
        cross = self.cross_inputs(cross)
        item = self.item_inputs(item)
        if shown is not None:
            item = item * shown
        user_part = self.user_side(self.user_inputs(user))[:, None]
        x = torch.relu(self.item_side(item) + self.cross_side(cross) + user_part)
        wide = self.wide(cross)
        scores: list[Tensor] = []
        for depth, layer in enumerate(self.hidden, start=1):
            x = torch.relu(layer(self.dropout(x)))
            if depth in self.config.exits:
                number = len(scores)
                scores.append(self.heads[number](x)[..., 0] + wide[..., number])
        return torch.stack(scores)


@torch.no_grad()
def score_lists(
    model: RankerDnn, lists: RankerLists, exit_depth: int | None = None, *, batch_lists: int = 64
) -> npt.NDArray[np.float32]:
    """Scores (n_lists, n_candidates) float32 at one exit, by default the deepest; -inf at padded places.

    `exit_depth` is one of the configured exits, in hidden layers. Leaves the mode as it found it.
    """
    number = model.config.exits.index(exit_depth or model.config.exits[-1])
    device = model.wide.weight.device
    was_training = model.training
    model.eval()
    scores = np.empty(lists.rows.shape, dtype=np.float32)
    for begin in range(0, len(lists), batch_lists):
        part = slice(begin, begin + batch_lists)
        item = torch.from_numpy(lists.item_inputs[np.maximum(lists.rows[part], 0)])
        user = torch.from_numpy(lists.user[part])
        cross = torch.from_numpy(lists.cross[part].astype(np.float32))
        result = model(item.to(device), user.to(device), cross.to(device))[number]
        scores[part] = np.where(lists.rows[part] >= 0, result.cpu().numpy(), -np.inf)
    model.train(was_training)
    return scores
