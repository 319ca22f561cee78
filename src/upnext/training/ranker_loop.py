"""Trains the multi-exit ranker on lists: loss, epochs, early stopping, resuming; knows not where lists come from."""

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from upnext.errors import TrainingError
from upnext.models.ranker_config import LABELLED_TASKS, RankerConfig
from upnext.models.ranker_dnn import RankerDnn, score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.training.checkpoint import digest_of, read_checkpoint, write_checkpoint
from upnext.training.metrics import ndcg, places_in_scores
from upnext.training.ranker_batches import RankerBatch, learn_standardisation, ranker_batches
from upnext.training.session_loop import Progress, best_device, one_cycle

GRADIENT_NORM = 5.0


def train_ranker(
    lists: RankerLists,
    config: RankerConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    device: str | None = None,
) -> RankerDnn:
    """Learn to put each list's target first, at every exit; returns the weights that did so best on held-out lists.

    Judged by NDCG@10 of the deepest exit after each epoch, the untrained ranker (which orders by the prior column)
    included, so the result is never worse on those lists than the prior. On the CPU, in evaluation mode; one seed gives
    one result on one machine with one number of threads. With `checkpoint` every epoch is kept in that file and a run
    that finds its own file there goes on after it. `device` None takes a GPU when there is one. Raises TrainingError
    for fewer than two lists or a foreign file.
    """
    if len(lists) < 2:
        raise TrainingError(f"{len(lists)} lists are too few to train a ranker; widen the period they are taken from")
    with torch.random.fork_rng(devices=[]):
        run = _Run(lists, config, seed, torch.device(device or best_device()))
        run.begin(checkpoint)
        while not run.finished():
            message = run.learn_epoch()
            if checkpoint is not None:
                run.save(checkpoint)
            if progress is not None:
                progress(run.epoch, config.epochs, message)
    run.model.load_state_dict(run.best)
    return run.model.cpu().eval()


def training_loss(model: RankerDnn, batch: RankerBatch, shown: Tensor | None = None) -> Tensor:
    """What one step of training makes smaller: `ranker_loss` of the clicks and `task_loss` of the other tasks.

    `shown` as in `RankerDnn.forward`. The weights are those of the model's own settings.
    """
    config = model.config
    clicks, tasks = model.task_logits(batch.item, batch.user, batch.cross, batch.target, shown)
    loss = config.task_weights.click * ranker_loss(clicks, batch, config.distillation)
    return loss if batch.labels is None else loss + task_loss(tasks, batch, config.task_weights.of(LABELLED_TASKS))


def ranker_loss(scores: Tensor, batch: RankerBatch, distillation: float) -> Tensor:
    """Mean over exits of the softmax cross-entropy of the target, plus the shallower exits' distance to the deepest.

    `scores` (n_exits, B, m). Distance: KL(deepest ‖ shallower) over the list, the deepest taken as given
    (self-distillation after Zhang et al., "Be Your Own Teacher", ICCV 2019). Lists count by `batch.weight`.
    """
    log_shares = functional.log_softmax(scores.masked_fill(~batch.valid, -1e9), dim=2)
    loss = -log_shares[:, torch.arange(len(batch.target), device=scores.device), batch.target].mean(dim=0)
    if len(scores) > 1 and distillation:
        teacher = log_shares[-1:].detach()
        distance = (teacher.exp() * (teacher - log_shares[:-1])).sum(dim=2).mean(dim=0)
        loss = loss + distillation * distance
    return _weighted_mean(loss, batch.weight)


def task_loss(logits: Tensor, batch: RankerBatch, weights: Sequence[float]) -> Tensor:
    """Mean over exits of the binary cross-entropy of each labelled task times its weight, summed over tasks.

    `logits` (n_exits, B, n_labelled) of the targets. What is not known (NaN) adds nothing: a task's mean is over the
    lists of the batch that know.
    """
    assert batch.labels is not None
    known = ~batch.labels.isnan()
    losses = functional.binary_cross_entropy_with_logits(
        logits, batch.labels.nan_to_num().expand_as(logits), reduction="none"
    ).mean(dim=0)
    counted = known.float() if batch.weight is None else known * batch.weight[:, None]
    means = (losses * counted).sum(dim=0) / counted.sum(dim=0).clamp(min=1e-6)
    return means @ means.new_tensor(list(weights))


def _weighted_mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum().clamp(min=1e-6)


class _Run:
    """One training run between two epochs: all that a checkpoint has to hold.

    Each epoch seeds its generators from (seed, epoch), so that a resumed run draws what it would have drawn.
    """

    def __init__(self, lists: RankerLists, config: RankerConfig, seed: int, device: torch.device) -> None:
        order = np.random.default_rng([seed, 0]).permutation(len(lists))
        n_held_out = min(max(1, round(config.held_out_share * len(lists))), len(lists) - 1)
        self.lists, self.numbers, self.held_out = lists, order[n_held_out:], lists.take(order[:n_held_out])
        self.config, self.seed, self.device = config, seed, device
        self.epoch = self.best_epoch = 0
        parts = (lists.item_inputs, lists.user, lists.rows, lists.cross, lists.target, lists.labels(), lists.counts())
        self.digest = digest_of(msgspec.json.encode((config, seed)), *(np.ascontiguousarray(p).data for p in parts))

    def begin(self, checkpoint: Path | None) -> None:
        """Fresh weights, or those of the checkpoint."""
        torch.manual_seed(self.seed)
        self.model = RankerDnn(
            self.config,
            n_item_inputs=self.lists.item_inputs.shape[1],
            n_user_inputs=self.lists.user.shape[1],
            n_cross_inputs=self.lists.cross.shape[2],
        ).to(self.device)
        self.optimizer = torch.optim.AdamW(_decay_groups(self.model), lr=self.config.learning_rate, fused=True)
        record = None if checkpoint is None else read_checkpoint(checkpoint, self.digest)
        if record is not None:
            self.epoch, self.best_epoch, self.best_ndcg = record["epoch"], record["best_epoch"], record["best_ndcg"]
            self.best = record["best"]
            self.model.load_state_dict(record["model"])
            self.optimizer.load_state_dict(record["optimizer"])
            return
        learn_standardisation(self.model, self.lists, self.numbers, np.random.default_rng([self.seed, 1]))
        self.model.start_from_prior()
        self.best_ndcg, self.best = self._judge(), copy.deepcopy(self.model.state_dict())

    def save(self, checkpoint: Path) -> None:
        record: dict[str, Any] = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_ndcg": self.best_ndcg,
            "best": self.best,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(checkpoint, self.digest, record)

    def finished(self) -> bool:
        return self.epoch >= self.config.epochs or self.epoch - self.best_epoch >= self.config.patience

    def learn_epoch(self) -> str:
        """One pass over the lists; returns a line with the mean loss, the held-out NDCG@10 and the speed."""
        config = self.config
        rng = np.random.default_rng([self.seed, 2, self.epoch])
        torch.manual_seed(int(rng.integers(2**63)))
        batches = ranker_batches(
            self.lists,
            self.numbers,
            batch_lists=config.batch_lists,
            sampled_candidates=config.sampled_candidates,
            rng=rng,
        )
        n_steps = -(-len(self.numbers) // config.batch_lists)
        self.model.train()
        started, total = time.perf_counter(), 0.0
        for step, batch in enumerate(batches):
            rate = one_cycle((self.epoch + step / n_steps) / config.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * config.learning_rate
            total += self._learn_batch(batch.to(self.device)) * len(batch.target)
        seconds = time.perf_counter() - started
        self.epoch += 1
        judged = self._judge()
        if judged > self.best_ndcg:
            self.best_ndcg, self.best_epoch, self.best = judged, self.epoch, copy.deepcopy(self.model.state_dict())
        loss, speed = total / len(self.numbers), len(self.numbers) / seconds
        return f"loss {loss:.4f}, held-out NDCG@10 {judged:.4f}, {speed:,.0f} lists/s"

    def _learn_batch(self, batch: RankerBatch) -> float:
        shown = (torch.rand(*batch.valid.shape, 1, device=self.device) >= self.config.item_dropout).float()
        loss = training_loss(self.model, batch, shown)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        return loss.item()

    def _judge(self) -> float:
        return ndcg(places_in_scores(score_lists(self.model, self.held_out), self.held_out.target), 10)


def _decay_groups(model: RankerDnn) -> list[dict[str, Any]]:
    """Weight decay for matrices only, the item side's its own; the wide part keeps its prior."""
    config = model.config
    item_side = list(model.item_side.parameters())
    kept = {id(p) for p in (*item_side, *model.wide.parameters())}
    others = [p for p in model.parameters() if id(p) not in kept]
    return [
        {"params": item_side, "weight_decay": config.item_weight_decay},
        {"params": [p for p in others if p.ndim == 2], "weight_decay": config.weight_decay},
        {"params": [*model.wide.parameters(), *(p for p in others if p.ndim != 2)], "weight_decay": 0.0},
    ]
