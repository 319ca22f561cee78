"""Whole neurons taken out of a ranker, so that its matrices are really smaller; trains nothing.

Structured pruning by magnitude: Han et al., "Learning both Weights and Connections for Efficient Neural Networks"
(NeurIPS 2015), by whole units after Li et al., "Pruning Filters for Efficient ConvNets" (ICLR 2017).
"""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import torch
from torch import Tensor, nn

from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import RankerDnn

MULTIPLE = 16
"""Widths are multiples of it: what the runtime's int8 kernels take at a time."""


def pruned_config(config: RankerConfig, share: float) -> RankerConfig:
    """`config` with this share of each layer's neurons, in whole multiples of MULTIPLE where a layer has as many."""
    first, *hidden = (_kept(width, share) for width in (config.first_width, *config.hidden))
    return msgspec.structs.replace(config, first_width=first, hidden=tuple(hidden))


def by_importance(model: RankerDnn) -> RankerDnn:
    """The same ranker with each layer's neurons sorted, the most important first; every score stays what it was.

    Importance is the norm of what comes in times the norm of what goes out: with ReLU no rescaling of a neuron
    changes it.
    """
    incoming = [_norm([model.item_side.weight, model.user_side.weight, model.cross_side.weight], dim=1)]
    incoming += [_norm([layer.weight], dim=1) for layer in _layers(model)]
    leaving: list[list[Tensor]] = [[layer.weight] for layer in _layers(model)] + [[]]
    for depth, (head, _) in zip(model.config.exits, model.combined_heads(), strict=True):
        leaving[depth].append(head[None])
    importance = [weight * _norm(parts, dim=0) for weight, parts in zip(incoming, leaving, strict=True)]
    return _with_neurons(model, [torch.argsort(each, descending=True, stable=True) for each in importance])


def prune(model: RankerDnn, share: float) -> RankerDnn:
    """The leading neurons of each layer of a ranker `by_importance`, weights copied; on the CPU, in evaluation mode.

    Those of the first layer are its first in every width, so that one item table, cut off, serves all of them.
    """
    config = pruned_config(model.config, share)
    return _with_neurons(model, [torch.arange(width) for width in (config.first_width, *config.hidden)])


def _kept(width: int, share: float) -> int:
    return min(width, max(1, round(width * share / MULTIPLE)) * MULTIPLE)


def _layers(model: RankerDnn) -> list[nn.Linear]:
    return [layer for layer in model.hidden if isinstance(layer, nn.Linear)]


def _norm(parts: Sequence[Tensor], dim: int) -> Tensor:
    """Of each neuron, over all `parts`: its row of each (`dim` 1) or its column (0)."""
    norm: Tensor = torch.linalg.vector_norm(torch.cat([part.detach() for part in parts], dim=dim), dim=dim)
    return norm


@torch.no_grad()
def _with_neurons(model: RankerDnn, kept: Sequence[Tensor]) -> RankerDnn:
    """The ranker of these neurons of the first and of each hidden layer, in this order."""
    n_cross = model.cross_side.in_features
    smaller = RankerDnn(
        msgspec.structs.replace(
            model.config, first_width=len(kept[0]), hidden=tuple(len(neurons) for neurons in kept[1:])
        ),
        n_item_inputs=model.item_side.in_features,
        n_user_inputs=model.user_side.in_features,
        n_cross_inputs=n_cross,
    )
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    for name in ("item_side.weight", "user_side.weight", "user_side.bias", "cross_side.weight"):
        state[name] = state[name][kept[0]]
    for number, (before, after) in enumerate(pairwise(kept)):
        state[f"hidden.{number}.weight"] = state[f"hidden.{number}.weight"][after][:, before]
        state[f"hidden.{number}.bias"] = state[f"hidden.{number}.bias"][after]
    for number, depth in enumerate(model.config.exits):
        width = model.config.hidden[depth - 1]
        state[f"heads.{number}.weight"] = state[f"heads.{number}.weight"][:, kept[depth]]
        columns = torch.cat([kept[depth], torch.arange(width, width + n_cross)])  # deep first, then wide
        state[f"task_heads.{number}.weight"] = state[f"task_heads.{number}.weight"][:, columns]
    smaller.load_state_dict(state)
    return smaller.eval()
