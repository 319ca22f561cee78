"""Trains a session encoder: epochs, steps, schedule, resuming; knows not where histories come from."""

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
from upnext.models.session import SessionConfig, SessionEncoder, session_encoder
from upnext.models.session_tables import telling
from upnext.training.checkpoint import digest_of, read_checkpoint, write_checkpoint
from upnext.training.sequences import PADDING, Sequences, training_batches
from upnext.training.softmax import NegativeSampler, full_softmax_loss, sampled_softmax_loss

Progress = Callable[[int, int, str], None]
"""Called after each epoch, its checkpoint already written: epochs done, epochs in all, one line for a person."""

GRADIENT_NORM = 5.0
ITEMS_PER_EVENT = 64
"""A training step costs something per item of the catalogue, so it reads an event for so many items at least."""
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

    Of the events read, what the sequences know of action, time and value is read too; those that are no `targets` are
    read only.

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
    """The encoder of a checkpoint, finished or not, on the CPU, in evaluation mode.

    Raises TrainingError if it is absent, or of a version whose encoders were made of other parts.
    """
    record = read_checkpoint(path, None)
    if record is None:
        raise TrainingError(f"there is no checkpoint at {path}; train the session model first")
    try:
        encoder = session_encoder(record["n_items"], msgspec.json.decode(record["config"], type=SessionConfig))
        encoder.load_state_dict(record["encoder"])
    except (RuntimeError, msgspec.ValidationError) as error:
        raise TrainingError(f"{path} holds a session encoder of another version; train a new release") from error
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
            msgspec.json.encode((config, n_items, seed)),
            *(np.ascontiguousarray(column).data for column in sequences.columns()),
        )

    def begin(self, checkpoint: Path | None) -> None:
        """Fresh weights, or those of the checkpoint."""
        torch.manual_seed(self.seed)
        self.encoder = session_encoder(self.n_items, self.config)
        self.encoder.tables.fit_edges(self.sequences.values)
        codes = self.encoder.tables.codes(self.sequences)
        self.codes = None if codes is None else telling(codes)
        self.encoder.to(self.device)
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
        batch_events = max(self.config.batch_events, self.n_items // ITEMS_PER_EVENT)
        batches = list(training_batches(self.sequences, self.config.history_length, batch_events, rng))
        self.encoder.train()
        started, n_events, total = time.perf_counter(), 0, 0.0
        for number, places in enumerate(batches):
            rate = one_cycle((self.epoch + number / len(batches)) / self.config.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * self.config.learning_rate
            loss, n_targets = self._learn_batch(places)
            total += loss * n_targets
            n_events += n_targets
        self.epoch += 1
        seconds = time.perf_counter() - started
        return f"loss {total / n_events:.4f}, {n_events / seconds:,.0f} events/s"

    def _learn_batch(self, places: npt.NDArray[np.int64]) -> tuple[float, int]:
        """Mean loss and number of the targets of one batch; no step where none of the events is a target."""
        inputs, codes, targets = self._batch(places)
        known = targets >= 0
        if not known.any():
            return 0.0, 0
        hidden, rows = self.encoder(inputs, codes)[known], targets[known]
        table, bias = self.encoder.embedding.weight, self.encoder.bias
        if self.sampler is None:
            loss = full_softmax_loss(hidden, table, bias, rows)
        else:
            loss = sampled_softmax_loss(hidden, table, bias, rows, *self.sampler.draw())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        return loss.item(), len(rows)

    def _batch(self, places: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor | None, Tensor]:
        """Item rows and codes of the events at `places`, and the rows that come after them, -1 for no target."""
        sequences, read, after = self.sequences, places >= 0, np.maximum(places + 1, 0)
        wanted = read if sequences.targets is None else read & sequences.targets[after]
        inputs = torch.from_numpy(np.where(read, sequences.items[places], PADDING)).to(self.device)
        targets = torch.from_numpy(np.where(wanted, sequences.items[after], PADDING)).to(self.device)
        codes = None if self.codes is None else torch.from_numpy(self.codes[:, places]).to(self.device).long()
        return inputs.long(), codes, targets.long()


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
    decayed = {name for name, p in named if p.ndim == 2 and not name.startswith(("embedding", "tables"))}
    matrices = [p for name, p in named if name in decayed]
    others = [p for name, p in named if name not in decayed]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def best_device() -> str:
    """A GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
