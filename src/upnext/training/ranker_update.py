"""Trains the last layers of a finished ranker further, the early ones frozen; knows not where lists come from."""

import copy
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from upnext.models.ranker_dnn import RankerDnn, score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.training.metrics import discounts, places_in_scores
from upnext.training.ranker_batches import ranker_batches
from upnext.training.ranker_loop import GRADIENT_NORM, training_loss
from upnext.training.session_loop import one_cycle

FEWEST_LISTS = 50
"""With fewer a ranker stays as it is: luck would move it."""


def freeze_early(model: RankerDnn) -> list[torch.nn.Parameter]:
    """Leaves only the heads and the hidden layers from the first exit's last one on to learn; those parameters.

    The first layer stays, and with it what is folded into the catalogue.
    """
    model.requires_grad_(False)
    late = [*model.hidden[model.config.exits[0] - 1 :], *model.heads, *model.task_heads, model.wide]
    for layer in late:
        layer.requires_grad_(True)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def update_ranker(
    model: RankerDnn, lists: RankerLists, *, epochs: int, learning_rate: float, seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> RankerDnn:  # fmt: skip
    """A copy of `model` whose last layers have learnt from `lists`; on the CPU, in evaluation mode.

    As in `train_ranker` some lists are held out, and the epoch that does best on them stays; the model as it came
    unless that is better by more than a standard error of the difference, paired by list. With fewer than FEWEST_LISTS
    it is the model as it came.
    """
    model = copy.deepcopy(model).eval()
    if len(lists) < FEWEST_LISTS:
        return model
    config = model.config
    order = np.random.default_rng([seed, 31]).permutation(len(lists))
    n_held_out = max(1, round(config.held_out_share * len(lists)))
    held_out, numbers = lists.take(order[:n_held_out]), order[n_held_out:]
    learning = freeze_early(model)
    optimizer = torch.optim.AdamW(learning, lr=learning_rate, weight_decay=0.0, fused=True)
    came, best = _judge(model, held_out), copy.deepcopy(model.state_dict())
    best_ndcg = float(came.mean())
    n_steps = -(-len(numbers) // config.batch_lists)
    for epoch in range(epochs):
        batches = ranker_batches(
            lists, numbers, batch_lists=config.batch_lists, sampled_candidates=config.sampled_candidates,
            rng=np.random.default_rng([seed, 32, epoch]),
        )  # fmt: skip
        for step, batch in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * one_cycle((epoch + step / n_steps) / epochs)
            loss = training_loss(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learning, GRADIENT_NORM)
            optimizer.step()
        judged = _judge(model, held_out)
        if judged.mean() > best_ndcg and _clearly_better(judged, came):
            best_ndcg, best = float(judged.mean()), copy.deepcopy(model.state_dict())
        if progress is not None:
            progress(epoch + 1, epochs, f"held-out NDCG@10 {judged.mean():.4f}")
    model.load_state_dict(best)
    return model.requires_grad_(True).eval()


def _judge(model: RankerDnn, held_out: RankerLists) -> npt.NDArray[np.float64]:
    """What each list adds to NDCG@10."""
    return discounts(places_in_scores(score_lists(model, held_out), held_out.target), 10)


def _clearly_better(gains: npt.NDArray[np.float64], before: npt.NDArray[np.float64]) -> bool:
    differences = gains - before
    return bool(differences.mean() > differences.std() / np.sqrt(len(differences)))


@torch.no_grad()
def with_inputs(
    model: RankerDnn, old: tuple[tuple[str, ...], tuple[str, ...]], new: tuple[tuple[str, ...], tuple[str, ...]]
) -> RankerDnn:
    """The same ranker for inputs in another order: `old` and `new` names of item and user inputs.

    An input that it did not have never says anything.
    """
    if old == new:
        return model
    sizes = {"n_item_inputs": len(new[0]), "n_user_inputs": len(new[1])}
    made = RankerDnn(model.config, **sizes, n_cross_inputs=len(model.cross_inputs.mean))
    state = model.state_dict()
    for side, (before, after) in {"item": (old[0], new[0]), "user": (old[1], new[1])}.items():
        place_of = {name: place for place, name in enumerate(before)}
        places = torch.tensor([place_of.get(name, -1) for name in after])
        known = places >= 0
        for name in (f"{side}_inputs.mean", f"{side}_inputs.scale", f"{side}_side.weight"):
            state[name] = torch.where(known, state[name][..., places.clamp(min=0)], 0.0)
    made.load_state_dict(state)
    return made.eval()
