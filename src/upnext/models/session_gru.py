"""The session encoder of gated recurrent units (Cho et al., EMNLP 2014); knows nothing of training."""

import torch
from torch import Tensor, nn

from upnext.models.dropout import Dropout
from upnext.models.session_encoder import SessionConfig, SessionEncoder, at_last


class GruEncoder(SessionEncoder):
    """GRU layers one above the other, projected to the item space (GRU4Rec, Hidasi et al., ICLR 2016)."""

    def __init__(self, n_items: int, config: SessionConfig) -> None:
        super().__init__(n_items, config)
        size = config.embedding_size
        self.n_units = size * config.state_expansion
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            nn.GRU(size if number == 0 else self.n_units, self.n_units, batch_first=True)
            for number in range(config.n_blocks)
        )
        self.leave = nn.Linear(self.n_units, size)
        self.output_norm = nn.LayerNorm(size)
        self.state_size = self.n_units * config.n_blocks

    def advance(self, vectors: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        x = self.dropout(vectors)
        states = []
        for layer, layer_state in zip(self.layers, state.chunk(len(self.layers), dim=1), strict=True):
            # One nn.GRU per layer: its output is its state at every place, so padding needs no packing.
            hidden, _ = layer(x, layer_state.contiguous()[None])
            states.append(at_last(hidden, lengths, layer_state))
            x = self.dropout(hidden)
        return self.output_norm(self.leave(x)), torch.cat(states, dim=1)

    def step(self, state: Tensor, item_vectors: Tensor) -> tuple[Tensor, Tensor]:
        x = item_vectors
        states = []
        for layer, layer_state in zip(self.layers, state.chunk(len(self.layers), dim=1), strict=True):
            x = _gru_cell(layer, x, layer_state)
            states.append(x)
        return torch.cat(states, dim=1), self.output_norm(self.leave(x))


def _gru_cell(layer: nn.Module, x: Tensor, state: Tensor) -> Tensor:
    """One step of `nn.GRU` in plain operations: exporters unroll those, but not a GRU of length one."""
    from_input = nn.functional.linear(x, layer.weight_ih_l0, layer.bias_ih_l0)  # type: ignore[arg-type]
    from_state = nn.functional.linear(state, layer.weight_hh_l0, layer.bias_hh_l0)  # type: ignore[arg-type]
    input_reset, input_update, input_new = from_input.chunk(3, dim=1)
    state_reset, state_update, state_new = from_state.chunk(3, dim=1)
    reset = torch.sigmoid(input_reset + state_reset)
    update = torch.sigmoid(input_update + state_update)
    candidate = torch.tanh(input_new + reset * state_new)
    return (1 - update) * candidate + update * state
