"""Trains a session encoder: epochs, steps, schedule, resuming; knows not where histories come from."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from upnext.errors import TrainingError
from upnext.models.session import SessionConfig, SessionEncoder, session_encoder
from upnext.training.checkpoint import digest_of, read_checkpoint, write_checkpoint
from upnext.training.sequences import Sequences, training_batches
from upnext.training.softmax import NegativeSampler, full_softmax_loss, sampled_softmax_loss

Progress = Callable[[int, int, str], None]
"""Called after each epoch, its checkpoint already written: epochs done, epochs in all, one line for a person."""

GRADIENT_NORM = 5.0
WARM_UP = 0.1
"""Share of the run in which the learning rate rises; the usual 0.3 spends a quarter of the epochs learning little."""


def train_session(
    sequences: Sequences,
    n_items: int,
    config: SessionConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    device: str | None = None,
) -> SessionEncoder:
    """Learn to predict each event of `sequences` (item rows below `n_items`) from those before it.

    Returns the encoder on the CPU, in evaluation mode. One seed gives one result on one machine's CPU with one number
    of threads. With `checkpoint` every epoch is kept in that file, and a run that finds its own file there goes on
    after it, ending with the weights of an uninterrupted run. `device` None takes a GPU when there is one. Raises
    TrainingError when no history has two events, or the file belongs to a run with other settings, seed or data.
    """
    if not np.any(sequences.lengths >= 2):
        raise TrainingError("no history has two events, so there is nothing to predict; import more events first")
    if sequences.items.max() >= n_items:
        raise TrainingError(f"item row {sequences.items.max()} is outside the {n_items} items of the vocabulary")
    run = _Run(sequences, n_items, config, seed, torch.device(device or best_device()))
    with torch.random.fork_rng(devices=[]):
        run.begin(checkpoint)
        while run.epoch < config.epochs:
            message = run.learn_epoch()
            if checkpoint is not None:
                run.save(checkpoint)
            if progress is not None:
                progress(run.epoch, config.epochs, message)
    return run.encoder.cpu().eval()


def load_session(path: Path) -> SessionEncoder:
    """The encoder of a checkpoint, finished or not, on the CPU, in evaluation mode. Raises TrainingError if absent."""
    record = read_checkpoint(path, None)
    if record is None:
        raise TrainingError(f"there is no checkpoint at {path}; train the session model first")
    encoder = session_encoder(record["n_items"], msgspec.json.decode(record["config"], type=SessionConfig))
    encoder.load_state_dict(record["encoder"])
    return encoder.eval()


class _Run:
    """One training run between two epochs: all that a checkpoint has to hold.

    Randomness is not carried from epoch to epoch: each one seeds its generators from (seed, epoch), so a checkpoint
    holds no generator and a resumed epoch draws what it would have drawn.
    """

    def __init__(
        self, sequences: Sequences, n_items: int, config: SessionConfig, seed: int, device: torch.device
    ) -> None:
        self.sequences, self.config, self.seed, self.device = sequences, config, seed, device
        self.n_items = n_items
        self.epoch = 0
        self.sampler: NegativeSampler | None = None
        if n_items > config.full_softmax_items:
            counts = torch.from_numpy(np.bincount(sequences.items, minlength=n_items)).to(device)
            self.sampler = NegativeSampler(counts, config.n_negatives, config.popularity_share)
        self.digest = digest_of(
            msgspec.json.encode((config, n_items, seed)), sequences.offsets.data, sequences.items.data
        )

    def begin(self, checkpoint: Path | None) -> None:
        """Fresh weights, or those of the checkpoint."""
        torch.manual_seed(self.seed)
        self.encoder = session_encoder(self.n_items, self.config).to(self.device)
        self.optimizer = torch.optim.AdamW(
            _decay_groups(self.encoder, self.config.weight_decay), lr=self.config.learning_rate, fused=True
        )
        record = None if checkpoint is None else read_checkpoint(checkpoint, self.digest)
        if record is not None:
            self.epoch = record["epoch"]
            self.encoder.load_state_dict(record["encoder"])
            self.optimizer.load_state_dict(record["optimizer"])

    def save(self, checkpoint: Path) -> None:
        record: dict[str, Any] = {
            "epoch": self.epoch,
            "n_items": self.n_items,
            "config": msgspec.json.encode(self.config),
            "encoder": self.encoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(checkpoint, self.digest, record)

    def learn_epoch(self) -> str:
        """One pass over all histories; returns a line with the mean loss and the speed."""
        rng = np.random.default_rng([self.seed, self.epoch])
        torch.manual_seed(int(rng.integers(2**63)))
        batches = list(training_batches(self.sequences, self.config.history_length, self.config.batch_events, rng))
        self.encoder.train()
        started, n_events, total = time.perf_counter(), 0, 0.0
        for number, (inputs, targets) in enumerate(batches):
            rate = one_cycle((self.epoch + number / len(batches)) / self.config.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * self.config.learning_rate
            n_targets = int((targets >= 0).sum())
            total += self._learn_batch(torch.from_numpy(inputs), torch.from_numpy(targets)) * n_targets
            n_events += n_targets
        self.epoch += 1
        seconds = time.perf_counter() - started
        return f"loss {total / n_events:.4f}, {n_events / seconds:,.0f} events/s"

    def _learn_batch(self, inputs: Tensor, targets: Tensor) -> float:
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        known = targets >= 0
        hidden, rows = self.encoder(inputs)[known], targets[known]
        table, bias = self.encoder.embedding.weight, self.encoder.bias
        if self.sampler is None:
            loss = full_softmax_loss(hidden, table, bias, rows)
        else:
            loss = sampled_softmax_loss(hidden, table, bias, rows, *self.sampler.draw())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        return loss.item()


def one_cycle(progress: float) -> float:
    """Share of the peak learning rate at `progress` in [0, 1]: a cosine up from 1/25 in WARM_UP, then one down to 0.

    After Smith and Topin, "Super-convergence", 2018.
    """
    if progress < WARM_UP:
        return 0.04 + 0.96 * (1 - float(np.cos(np.pi * progress / WARM_UP))) / 2
    return (1 + float(np.cos(np.pi * (progress - WARM_UP) / (1 - WARM_UP)))) / 2


def _decay_groups(encoder: SessionEncoder, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for the matrices of the layers only: it would pull rare items' vectors and the recurrence to 0."""
    named = list(encoder.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and not name.startswith("embedding")]
    others = [p for name, p in named if p.ndim != 2 or name.startswith("embedding")]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def best_device() -> str:
    """A GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
