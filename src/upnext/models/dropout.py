"""Dropout that does not wait for the random number generator; knows no model."""

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Sets a share `rate` of the values to zero in training and scales up the rest; does nothing otherwise.

    On the CPU torch draws one number per value, on one thread, which costs more than a layer of 64 to 256. One byte per
    value does: `rate` is rounded to 1/256. The generator is torch's, so seeds and checkpoints hold.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.threshold = round(rate * 256)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.threshold == 0:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        drawn = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        return x * ((drawn >= self.threshold).to(x.dtype) * (256 / (256 - self.threshold)))
