"""Trains the two towers: epochs, steps, schedule, resuming; knows neither where histories come from nor the server."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from upnext.errors import TrainingError
from upnext.models.tower_inputs import TowerInputs
from upnext.models.two_tower import TwoTower, TwoTowerConfig
from upnext.training.checkpoint import digest_of, read_checkpoint, write_checkpoint
from upnext.training.sequences import PADDING, Sequences, cut_windows, pad, plan_batches
from upnext.training.session_loop import best_device, one_cycle
from upnext.training.softmax import NegativeSampler, full_softmax_loss, sampled_softmax_loss

Progress = Callable[[int, int, str], None]
"""Called after each epoch, its checkpoint already written: epochs done, epochs in all, one line for a person."""

GRADIENT_NORM = 5.0
MOST_SCORES = 2**24
"""Scores held at once in the search for hard negatives (64 MiB)."""


def train_two_tower(
    sequences: Sequences,
    inputs: TowerInputs,
    config: TwoTowerConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    device: str | None = None,
) -> TwoTower:
    """Learn to foretell each event of `sequences` (one history per user of `inputs`) from those before it.

    Returns the model on the CPU, in evaluation mode. One seed gives one result on one machine's CPU with one number of
    threads. With `checkpoint` every epoch is kept in that file, and a run that finds its own file there goes on after
    it, ending with the weights of an uninterrupted run. `device` None takes a GPU when there is one. Raises
    TrainingError when no history has two events, histories and inputs do not fit, the file is of another run, or
    more negatives are asked for in shares than there are.
    """
    if not 0 <= config.popularity_share + config.hard_negatives <= 1:
        raise TrainingError(
            f"two_tower.popularity_share {config.popularity_share} and hard_negatives {config.hard_negatives} are more "
            "than 1 together; lower one of them"
        )
    if len(sequences.lengths) != inputs.n_users:
        raise TrainingError(f"{len(sequences.lengths)} histories for {inputs.n_users} users; give one history per user")
    if not np.any(sequences.lengths >= 2):
        raise TrainingError("no history has two events, so there is nothing to predict; import more events first")
    if sequences.items.max() >= inputs.n_items:
        raise TrainingError(f"item row {sequences.items.max()} is outside the {inputs.n_items} items of the inputs")
    chosen = device or best_device()
    with torch.random.fork_rng(devices=[]):
        run = _Run(sequences, inputs, config, seed, torch.device(chosen))
        run.resume(checkpoint)
        while run.epoch < config.epochs:
            message = run.learn_epoch()
            if checkpoint is not None:
                run.save(checkpoint)
            if progress is not None:
                progress(run.epoch, config.epochs, message)
    return run.model.cpu().eval()


class _Run:
    """One training run between two epochs: all that a checkpoint has to hold. Each epoch seeds its own generators."""

    def __init__(
        self, sequences: Sequences, inputs: TowerInputs, config: TwoTowerConfig, seed: int, device: torch.device
    ) -> None:
        self.sequences, self.config, self.seed, self.device = sequences, config, seed, device
        self.epoch = 0
        torch.manual_seed(seed)
        self.model = TwoTower(inputs, config).to(device)
        self.model.learnt.copy_(torch.from_numpy(np.isin(np.arange(inputs.n_items), sequences.items)))
        self.optimizer = torch.optim.AdamW(
            _decay_groups(self.model, config.weight_decay), lr=config.learning_rate, fused=True
        )
        self.no_bias = torch.zeros(inputs.n_items, device=device)
        self.sampler: NegativeSampler | None = None
        if inputs.n_items > config.full_softmax_items:
            self.sampler = self._sampler(np.zeros(inputs.n_items, np.int64))
        self.digest = digest_of(
            msgspec.json.encode((config, seed)),
            *(np.ascontiguousarray(a).data for a in (sequences.offsets, sequences.items, inputs.user_attributes)),
            inputs.side.data,
        )

    def resume(self, checkpoint: Path | None) -> None:
        """Take up the weights of the checkpoint, if there is one."""
        record = None if checkpoint is None else read_checkpoint(checkpoint, self.digest)
        if record is not None:
            self.epoch = record["epoch"]
            self.model.load_state_dict(record["model"])
            self.optimizer.load_state_dict(record["optimizer"])

    def save(self, checkpoint: Path) -> None:
        record: dict[str, Any] = {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(checkpoint, self.digest, record)

    def learn_epoch(self) -> str:
        """One pass over all histories; returns a line with the mean loss and the speed."""
        rng = np.random.default_rng([self.seed, self.epoch])
        torch.manual_seed(int(rng.integers(2**63)))
        if self.sampler is not None and self.config.hard_negatives > 0 and self.epoch > 0:
            self.sampler = self._sampler(hard_negatives(self.model, self.sequences, rng))
        windows = cut_windows(self.sequences, self.config.history_length, rng)
        whose = np.searchsorted(self.sequences.offsets, windows.starts, side="right") - 1
        batches = plan_batches(windows.lengths, self.config.batch_events, rng)
        self.model.train()
        started, n_events, total = time.perf_counter(), 0, 0.0
        for number, batch in enumerate(batches):
            rate = one_cycle((self.epoch + number / len(batches)) / self.config.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * self.config.learning_rate
            starts, lengths = windows.starts[batch], windows.lengths[batch]
            inputs = torch.from_numpy(pad(self.sequences.items, starts, lengths))
            # The target of no event at all is a user's very first one.
            targets = torch.from_numpy(pad(self.sequences.items, starts, lengths + 1))
            targets[torch.from_numpy(starts != self.sequences.offsets[whose[batch]]), 0] = PADDING
            n_targets = int((targets >= 0).sum())
            total += self._learn_batch(torch.from_numpy(whose[batch]), inputs, targets) * n_targets
            n_events += n_targets
        self.epoch += 1
        return f"loss {total / n_events:.4f}, {n_events / (time.perf_counter() - started):,.0f} events/s"

    def _sampler(self, hard: npt.NDArray[np.integer]) -> NegativeSampler:
        """Draws by popularity, from the hard ones, counted by item in `hard` (n_items,), and uniformly.

        However it draws, the loss divides by how often it does, so its estimate stays unbiased.
        """
        config = self.config
        counts = np.bincount(self.sequences.items, minlength=self.model.n_items)
        share = config.hard_negatives if hard.any() else 0.0
        parts = config.popularity_share * counts / counts.sum() + share * hard / max(1, hard.sum())
        parts *= len(self.sequences.items)  # the sampler takes counts
        return NegativeSampler(
            torch.from_numpy(parts).to(self.device), config.n_negatives, config.popularity_share + share
        )

    def _learn_batch(self, users: Tensor, inputs: Tensor, targets: Tensor) -> float:
        targets = targets.to(self.device)
        known = targets >= 0
        hidden = self.model(users, inputs)[known]
        loss = (
            self._full_loss(hidden, targets[known])
            if self.sampler is None
            else self._sampled_loss(hidden, targets[known])
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        return loss.item()

    def _full_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        rows = torch.arange(self.model.n_items, device=self.device)
        return full_softmax_loss(hidden, self.model.item_tower(rows, self.model.side), self.no_bias, targets)

    def _sampled_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """The item tower computes only the rows that occur, each once."""
        assert self.sampler is not None
        negatives, log_expected = self.sampler.draw()
        rows, places = torch.unique(torch.cat([targets, negatives]), return_inverse=True)
        table = self.model.item_tower(rows, self.model.side[rows])
        n = len(targets)
        return sampled_softmax_loss(hidden, table, self.no_bias[: len(rows)], places[:n], places[n:], log_expected)


def hard_negatives(model: TwoTower, sequences: Sequences, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """How often each item is among the best `hard_items` of some users who have not chosen it, (n_items,) int64.

    After Xiong et al., "Approximate Nearest Neighbor Negative Contrastive Learning" (ICLR 2021), searched exactly, for
    `hard_users` users drawn by `rng`. Leaves the model in evaluation mode.
    """
    config, some = model.config, np.flatnonzero(sequences.lengths > 0)
    users = rng.permutation(some)[: config.hard_users]
    histories = sequences.take(users)
    queries, table = torch.from_numpy(model.user_vectors(histories, users)), torch.from_numpy(model.item_vectors())
    counts = np.zeros(model.n_items, np.int64)
    size = max(1, MOST_SCORES // model.n_items)
    for begin in range(0, len(users), size):
        scores = queries[begin : begin + size] @ table.T
        batch = histories.take(np.arange(begin, min(begin + size, len(users))))
        scores[np.repeat(np.arange(len(scores)), batch.lengths), batch.items] = -torch.inf
        best = torch.topk(scores, min(config.hard_items, model.n_items), dim=1)
        counts += np.bincount(best.indices[torch.isfinite(best.values)].numpy(), minlength=model.n_items)
    return counts


def _decay_groups(model: TwoTower, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for the matrices of layers only: it would pull the vectors of rare items and users to 0."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in embeddings]
    others = [p for p in model.parameters() if p.ndim != 2 or id(p) in embeddings]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
