"""The session encoder of gated linear recurrences; knows nothing of training.

After the recurrent block of Griffin (De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for
Efficient Language Models", 2024): a short causal convolution, then a real recurrence whose decay and input the event
itself gates, so that an event can leave the memory as it is or clear it; the way out is gated too.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from upnext.models.dropout import Dropout
from upnext.models.linear_scan import gated_scan
from upnext.models.session_encoder import SessionConfig, SessionEncoder, at_last

RADIUS = (0.8, 0.99)
"""Decay of a half-open gate at the start: memories between about 4 and 100 events long."""
WIDTH = 3
"""Events that the convolution sees at once."""


class GatedEncoder(SessionEncoder):
    """Pre-norm residual blocks; the state is, block after block, (channels | newest inputs, older ones)."""

    def __init__(self, n_items: int, config: SessionConfig) -> None:
        super().__init__(n_items, config)
        size = config.embedding_size
        self.input_norm = nn.LayerNorm(size)
        self.input_dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            GatedBlock(size, size * config.state_expansion, config.dropout) for _ in range(config.n_blocks)
        )
        self.output_norm = nn.LayerNorm(size)
        self.state_size = config.n_blocks * (size * config.state_expansion + (WIDTH - 1) * size)

    def advance(self, vectors: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x = self._entered(vectors)
        states = []
        for block, block_state in self._with_states(state):
            x, new_state = block.advance(x, lengths, block_state)
            states.append(new_state)
        return self.output_norm(x).transpose(0, 1), torch.cat(states, dim=1)

    def last(self, vectors: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x, states = self._entered(vectors), []
        *before, (final, final_state) = self._with_states(state)
        for block, block_state in before:
            x, new_state = block.advance(x, lengths, block_state)
            states.append(new_state)
        x, new_state = final.advance(x, lengths, final_state, last=True)
        return self.output_norm(x), torch.cat([*states, new_state], dim=1)

    def _entered(self, vectors: Tensor) -> Tensor:
        """Time first: the scan goes through memory in one direction."""
        entered: Tensor = self.input_dropout(self.input_norm(vectors.transpose(0, 1).contiguous()))
        return entered

    def step(self, state: Tensor, item_vectors: Tensor) -> tuple[Tensor, Tensor]:
        x = self.input_norm(item_vectors)
        states = []
        for block, block_state in self._with_states(state):
            x, new_state = block.step(x, block_state)
            states.append(new_state)
        return torch.cat(states, dim=1), self.output_norm(x)

    def _with_states(self, state: Tensor) -> "Iterable[tuple[GatedBlock, Tensor]]":
        size = self.state_size // len(self.blocks)
        return zip(cast("Iterable[GatedBlock]", self.blocks), _split(state, size), strict=True)


class GatedBlock(nn.Module):
    """norm → convolution → gated recurrence → gate → add, norm → feed-forward of four times the width → add."""

    def __init__(self, size: int, n_channels: int, dropout: float) -> None:
        super().__init__()
        self.size, self.n_channels = size, n_channels
        self.norm = nn.LayerNorm(size)
        # Weight of the event itself, of the one before, …; at the start it sees the event alone.
        self.convolution = nn.Parameter(torch.eye(WIDTH, 1).repeat(1, size))
        self.enter = nn.Linear(size, 3 * n_channels)  # candidate | how much to forget | how much to take in
        self.gate = nn.Linear(size, n_channels)
        self.leave = nn.Linear(n_channels, size)
        radius = torch.sqrt(torch.rand(n_channels) * (RADIUS[1] ** 2 - RADIUS[0] ** 2) + RADIUS[0] ** 2)
        self.log_rate = nn.Parameter(torch.log(-torch.log(radius)))
        self.dropout = Dropout(dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 4 * size), nn.GELU(), Dropout(dropout), nn.Linear(4 * size, size)
        )

    def advance(self, x: Tensor, lengths: Tensor, state: Tensor, *, last: bool = False) -> tuple[Tensor, Tensor]:
        """`SessionEncoder.advance` for one block, time first: `x` (L, B, D); `state` (B, n_channels + 2 D).

        With `last` only what comes after each row's last event is worked out to the end, (B, D).
        """
        length, n_rows, _ = x.shape
        hidden, *before = _split(state, self.n_channels, self.size)
        normed = self.norm(x)
        inputs = torch.cat([*(each[None] for each in reversed(before)), normed])  # (WIDTH - 1 + L, B, D), oldest first
        mixed = sum(self.convolution[back] * inputs[WIDTH - 1 - back :][:length] for back in range(WIDTH))
        decay, taken = self._recurrence(cast(Tensor, mixed))
        taken = torch.cat([taken[:1] + decay[:1] * hidden, taken[1:]])
        states = gated_scan(taken, decay)
        newest = lengths + torch.arange(WIDTH - 2, -1, -1, device=lengths.device)[:, None]  # places in `inputs`
        kept = inputs[newest, torch.arange(n_rows, device=lengths.device)].transpose(0, 1)
        new_hidden = at_last(states.transpose(0, 1), lengths, hidden)
        new_state = torch.cat([new_hidden, kept.flatten(1)], dim=1)
        if last:
            at = (lengths - 1).clamp(min=0), torch.arange(n_rows, device=lengths.device)
            return self._finish(x[at], normed[at], states[at]), new_state
        return self._finish(x, normed, states), new_state

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """`SessionEncoder.step` for one block."""
        hidden, *before = _split(state, self.n_channels, self.size)
        normed = self.norm(x)
        inputs = [normed, *before]
        mixed = sum(self.convolution[back] * each for back, each in enumerate(inputs))
        decay, taken = self._recurrence(cast(Tensor, mixed))
        hidden = decay * hidden + taken
        return self._finish(x, normed, hidden), torch.cat([hidden, *inputs[:-1]], dim=1)

    def _recurrence(self, mixed: Tensor) -> tuple[Tensor, Tensor]:
        """Decay and what is added, (…, n_channels) each; their squares sum to at most 4, whatever the gates say."""
        candidate, forget, take = _split(self.enter(mixed), self.n_channels)
        log_decay = -2 * torch.exp(self.log_rate) * torch.sigmoid(forget)
        decay = torch.exp(log_decay)
        share = torch.sqrt((1 - decay * decay).clamp(min=1e-6))  # keeps the state's size, however long the memory
        return decay, 2 * share * torch.sigmoid(take) * candidate

    def _finish(self, x: Tensor, normed: Tensor, hidden: Tensor) -> Tensor:
        x = x + self.dropout(self.leave(hidden * silu(self.gate(normed))))
        result: Tensor = x + self.dropout(self.feed_forward(x))
        return result


def _split(packed: Tensor, first: int, rest: int | None = None) -> list[Tensor]:
    """The last axis in parts of known sizes, `first` and then `rest` each: exporters keep them constant."""
    rest = rest or first
    parts = [first] + [rest] * ((packed.shape[-1] - first) // rest)
    return list(torch.split(packed, parts, dim=-1))
