"""The multi-exit ranker: one first layer with three sides, hidden layers, a score at several depths; not its training.

A wide linear part over the cross inputs beside each exit after Cheng et al., "Wide & Deep Learning" (2016); exits after
BranchyNet (Teerapittayanon et al., 2016); heads of several tasks over one trunk ("shared bottom", Caruana, 1997).
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from upnext.models.dropout import Dropout
from upnext.models.ranker_config import LABELLED_TASKS, TASKS, RankerConfig
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
        tasks = [nn.Linear(config.hidden[depth - 1] + n_cross_inputs, len(LABELLED_TASKS)) for depth in config.exits]
        self.task_heads = nn.ModuleList(tasks)  # of both parts, deep first; `heads` and `wide` are the clicks'
        self.dropout = Dropout(config.dropout)
        for layer in layers[config.exits[0] :]:
            _start_as_identity(layer)  # deeper exits start as the one before them
        for linear in (*heads, *tasks, self.wide):
            nn.init.zeros_(linear.weight)
        for head in tasks:
            nn.init.zeros_(head.bias)

    def start_from_prior(self) -> None:
        """Make the untrained ranker order by the prior column; call once the standardisation is known."""
        column = self.config.prior_column
        if column is not None and self.cross_inputs.scale[column] > 0:
            with torch.no_grad():
                self.wide.weight[:, column] = self.config.prior_weight / self.cross_inputs.scale[column]

    def forward(self, item: Tensor, user: Tensor, cross: Tensor, shown: Tensor | None = None) -> Tensor:
        """Scores (n_exits, B, n) of items (B, n, d_item) for users (B, d_user) with cross inputs (B, n, d_cross).

        All raw, not standardised. Where `shown` (B, n, 1) is 0 the item's own inputs count as average. A score is the
        sum of the tasks' logits, without their offsets, each times its weight in `score_weights`.
        """
        leaving, cross = self._trunk(item, user, cross, shown)
        heads = self.combined_heads()
        return torch.stack([x @ head + cross @ wide for x, (head, wide) in zip(leaving, heads, strict=True)])

    def task_logits(
        self, item: Tensor, user: Tensor, cross: Tensor, target: Tensor, shown: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What training looks at: click logits (n_exits, B, n), and those of LABELLED_TASKS for the targets alone.

        `target` (B,) are places in the list; the second result is (n_exits, B, n_labelled). The rest as in `forward`.
        """
        leaving, cross = self._trunk(item, user, cross, shown)
        wide, at = self.wide(cross), torch.arange(len(target), device=target.device)
        clicks = [
            head(x)[..., 0] + wide[..., number]
            for number, (x, head) in enumerate(zip(leaving, self.heads, strict=True))
        ]
        chosen = cross[at, target]
        tasks = [
            head(torch.cat([x[at, target], chosen], dim=1)) for x, head in zip(leaving, self.task_heads, strict=True)
        ]
        return torch.stack(clicks), torch.stack(tasks)

    def combined_heads(self) -> list[tuple[Tensor, Tensor]]:
        """Per exit the score as one linear head (width,) and one wide row (n_cross,) for standardised cross inputs.

        A weighted sum of linear heads is linear, so several tasks cost a served ranker no more than one.
        """
        click, *others = self.config.score_weights.of(TASKS)
        weights = self.wide.weight.new_tensor(others)
        combined = []
        for head, tasks, row in zip(self.heads.parameters(), self.task_heads, self.wide.weight, strict=True):
            assert isinstance(tasks, nn.Linear)
            deep, wide = torch.split(weights @ tasks.weight, [head.shape[1], len(row)])
            combined.append((click * head[0] + deep, click * row + wide))
        return combined

    def _trunk(self, item: Tensor, user: Tensor, cross: Tensor, shown: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """What leaves the layer at each exit, (B, n, width) each, and the standardised cross inputs."""
        cross, item = self.cross_inputs(cross), self.item_inputs(item)
        if shown is not None:
            item = item * shown
        user_part = self.user_side(self.user_inputs(user))[:, None]
        x = torch.relu(self.item_side(item) + self.cross_side(cross) + user_part)
        leaving: list[Tensor] = []
        for depth, layer in enumerate(self.hidden, start=1):
            x = torch.relu(layer(self.dropout(x)))
            if depth in self.config.exits:
                leaving.append(x)
        return leaving, cross


@torch.no_grad()
def _start_as_identity(layer: nn.Linear) -> None:
    """Hands on as many channels as it can; those a wider layer has more start at random, or they would be silent."""
    carried = min(layer.in_features, layer.out_features)
    layer.weight[:carried] = torch.eye(carried, layer.in_features)
    layer.bias[:carried] = 0.0


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
