"""Graphs as somebody else would export them."""

import io
import warnings

import torch
from torch import nn


def exported(
    module: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str], fixed: tuple[str, ...] = ()
) -> bytes:
    """The graph of `module`, called with `inputs` in their order; the first axis is dynamic, but for those `fixed`."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the tracing exporter asks for no further package
        torch.onnx.export(
            module.eval(), tuple(inputs.values()), file, input_names=list(inputs), output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs) if name not in fixed},
            opset_version=20, dynamo=False,
        )  # fmt: skip
    return file.getvalue()


class OwnRanker(nn.Module):
    """What somebody else might have trained over raw inputs; seed torch beforehand."""

    def __init__(self, n_user: int, n_item: int, n_cross: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_user + n_item + n_cross, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, user: torch.Tensor, item: torch.Tensor, cross: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([user.expand(item.shape[0], -1), item, cross], dim=1) / 100).reshape(-1)


def own_ranker(n_user: int, n_item: int, n_cross: int) -> bytes:
    inputs = {"user": torch.zeros(1, n_user), "item": torch.zeros(2, n_item), "cross": torch.zeros(2, n_cross)}
    return exported(OwnRanker(n_user, n_item, n_cross), inputs, ["score"], fixed=("user",))
