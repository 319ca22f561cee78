"""The session encoder of linear recurrent units; knows nothing of training.

Blocks after LRURec (Yue et al., WSDM 2024), recurrence after the LRU (Orvieto et al., ICML 2023): a complex diagonal
λ inside the unit circle, a scan over time in training and one multiplication per event in serving.
"""

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from upnext.models.dropout import Dropout
from upnext.models.linear_scan import linear_scan
from upnext.models.session_encoder import SessionConfig, SessionEncoder, at_last

RADIUS = (0.8, 0.99)
"""|λ| at the start: memories between about 4 and 100 events long (half-lives 3 and 69)."""


class LruEncoder(SessionEncoder):
    """Pre-norm residual blocks; the state is (block, real | imaginary, channel), flattened."""

    def __init__(self, n_items: int, config: SessionConfig) -> None:
        super().__init__(n_items, config)
        size = config.embedding_size
        self.input_norm = nn.LayerNorm(size)
        self.input_dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            LruBlock(size, size * config.state_expansion, config.dropout) for _ in range(config.n_blocks)
        )
        self.output_norm = nn.LayerNorm(size)
        self.state_size = 2 * size * config.state_expansion * config.n_blocks

    def advance(self, vectors: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x = self.input_dropout(self.input_norm(vectors))
        states = []
        for block, block_state in zip(self._blocks(), state.chunk(len(self.blocks), dim=1), strict=True):
            x, new_state = block.advance(x, lengths, block_state)
            states.append(new_state)
        return self.output_norm(x), torch.cat(states, dim=1)

    def step(self, state: Tensor, item_vectors: Tensor) -> tuple[Tensor, Tensor]:
        x = self.input_norm(item_vectors)
        states = []
        for block, block_state in zip(self._blocks(), state.chunk(len(self.blocks), dim=1), strict=True):
            x, new_state = block.step(x, block_state)
            states.append(new_state)
        return torch.cat(states, dim=1), self.output_norm(x)

    def _blocks(self) -> "Iterable[LruBlock]":
        return cast("Iterable[LruBlock]", self.blocks)


class LruBlock(nn.Module):
    """norm → linear recurrence → add, norm → feed-forward of four times the width → add."""

    def __init__(self, size: int, n_channels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.enter = nn.Linear(size, 2 * n_channels)
        self.leave = nn.Linear(2 * n_channels, size)
        # λ = exp(-exp(log_rate) + i exp(log_phase)): no step of training can push it out of the unit circle.
        radius = torch.sqrt(torch.rand(n_channels) * (RADIUS[1] ** 2 - RADIUS[0] ** 2) + RADIUS[0] ** 2)
        self.log_rate = nn.Parameter(torch.log(-torch.log(radius)))
        self.log_phase = nn.Parameter(torch.log(2 * math.pi * torch.rand(n_channels)))
        self.log_gain = nn.Parameter(torch.log(torch.sqrt(1 - radius**2)))
        self.dropout = Dropout(dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 4 * size), nn.GELU(), Dropout(dropout), nn.Linear(4 * size, size)
        )

    def decay(self) -> Tensor:
        """λ as real and imaginary parts, (2, n_channels)."""
        radius, phase = torch.exp(-torch.exp(self.log_rate)), torch.exp(self.log_phase)
        return torch.stack([radius * torch.cos(phase), radius * torch.sin(phase)])

    def advance(self, x: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """`SessionEncoder.advance` for one block; `state` (B, 2 n_channels)."""
        n_rows, length, _ = x.shape
        decay = self.decay()
        inputs = self._enter(x).view(n_rows, length, 2, -1).permute(2, 0, 1, 3)
        carried = _times(decay, state)[:, None].view(n_rows, 1, 2, -1).permute(2, 0, 1, 3)
        inputs = torch.cat([inputs[:, :, :1] + carried, inputs[:, :, 1:]], dim=2)
        hidden = linear_scan(inputs, decay).permute(1, 2, 0, 3).reshape(n_rows, length, -1)
        return self._finish(x, hidden), at_last(hidden, lengths, state)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """`SessionEncoder.step` for one block."""
        hidden = _times(self.decay(), state) + self._enter(x)
        return self._finish(x, hidden), hidden

    def _enter(self, x: Tensor) -> Tensor:
        inputs: Tensor = self.enter(self.norm(x)) * torch.exp(self.log_gain).repeat(2)
        return inputs

    def _finish(self, x: Tensor, hidden: Tensor) -> Tensor:
        x = x + self.dropout(self.leave(hidden))
        result: Tensor = x + self.dropout(self.feed_forward(x))
        return result


def _times(factor: Tensor, state: Tensor) -> Tensor:
    """λ (2, N) times a state (B, 2 N), complex, written out in real numbers."""
    real, imaginary = state.chunk(2, dim=1)
    return torch.cat(
        [factor[0] * real - factor[1] * imaginary, factor[0] * imaginary + factor[1] * real],
        dim=1,
    )
