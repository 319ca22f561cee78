"""A pruned ranker brought back to what the whole one knows; decides neither what is pruned nor what is good enough.

By distillation (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015): beside the right answers it
learns the whole ranker's shares over each list.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists
from upnext.training.ranker_batches import RankerBatch, ranker_batches
from upnext.training.ranker_loop import GRADIENT_NORM, training_loss
from upnext.training.session_loop import one_cycle

TEACHING = 1.0
"""Weight of the distance to the teacher beside the ranker's own loss."""


def fine_tune(
    student: RankerDnn,
    teacher: RankerDnn,
    lists: RankerLists,
    *,
    epochs: int,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> RankerDnn:
    """Train `student` further, in place, towards the targets of `lists` and the scores of `teacher`; returns it.

    Its item side stays as it is, so that students of several widths read one item table. On the CPU, without dropout;
    in evaluation mode afterwards. One seed gives one result on one machine with one number of threads.
    """
    student.item_side.requires_grad_(False)
    learning = [parameter for parameter in student.parameters() if parameter.requires_grad]
    config = student.config
    optimizer = torch.optim.AdamW(learning, lr=config.learning_rate, weight_decay=0.0, fused=True)
    student.eval()  # the teacher's scores are without dropout too
    n_steps = -(-len(lists) // config.batch_lists)
    for epoch in range(epochs):
        total = 0.0
        rng = np.random.default_rng([seed, 3, epoch])
        batches = ranker_batches(
            lists,
            np.arange(len(lists)),
            batch_lists=config.batch_lists,
            sampled_candidates=config.sampled_candidates,
            rng=rng,
        )
        for step, batch in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * one_cycle((epoch + step / n_steps) / epochs)
            loss = training_loss(student, batch) + TEACHING * _distance(student, teacher, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learning, GRADIENT_NORM)
            optimizer.step()
            total += loss.item() * len(batch.target)
        if progress is not None:
            progress(
                f"fine-tuning {config.first_width} neurons, epoch {epoch + 1} of {epochs}, {total / len(lists):.4f}"
            )
    student.item_side.requires_grad_(True)
    return student


def _distance(student: RankerDnn, teacher: RankerDnn, batch: RankerBatch) -> Tensor:
    """KL(teacher's deepest exit ‖ each exit of the student) over the lists, the mean."""
    with torch.no_grad():
        wanted = functional.log_softmax(_scores(teacher, batch)[-1:], dim=2)
    found = functional.log_softmax(_scores(student, batch), dim=2)
    return (wanted.exp() * (wanted - found)).sum(dim=2).mean()


def _scores(model: RankerDnn, batch: RankerBatch) -> Tensor:
    scores: Tensor = model(batch.item, batch.user, batch.cross)
    return scores.masked_fill(~batch.valid, -1e9)
