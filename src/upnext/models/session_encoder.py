"""What every session encoder is: settings, interface, encoding of whole histories; not how a state is advanced."""

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from upnext.features.session_inputs import InputTables
from upnext.models.session_tables import Codes, EventTables
from upnext.models.session_tables import Histories as Histories


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the session encoder and of its training; a checkpoint belongs to exactly one such record."""

    # Which recurrence: "gated" (gated linear recurrence), "lru" (linear recurrent units) or "gru".
    kind: Literal["gated", "lru", "gru"] = "gated"
    # Length D of item and session vectors.
    embedding_size: int = 64
    # Stacked recurrent blocks.
    n_blocks: int = 2
    # Recurrent channels per embedding dimension: complex ones in the LRU, real ones elsewhere. Multiplies the state.
    state_expansion: int = 2
    # Share of activations dropped in training, after the embedding and inside the blocks.
    dropout: float = 0.25
    # Actions besides interactions whose events are read in training, never predicted: "dislike", "hover". Serving must
    # then take whole steps for them, see `state.action_weights`.
    extra_actions: tuple[str, ...] = ()
    # Longest window (targets) learned from at once; longer histories are cut, never dropped. Serving has no such limit.
    history_length: int = 200
    # Passes over all histories.
    epochs: int = 12
    # Peak of the one-cycle schedule.
    learning_rate: float = 2e-3
    # AdamW's decay of weight matrices; biases, norms, embeddings and the recurrence itself are not decayed.
    weight_decay: float = 0.01
    # Places (events and padding) per training step; rows of like length share a batch. Of a catalogue of more than 64
    # times as many items a step reads more, one event for 64 items, since it touches every item's vector.
    batch_events: int = 2_048
    # Largest catalogue trained with the full softmax; above it negatives are sampled.
    full_softmax_items: int = 20_000
    # Negatives drawn per step and shared by all its targets, when sampling.
    n_negatives: int = 4_096
    # Share of the negatives drawn by popularity; the rest is uniform.
    popularity_share: float = 0.5


class SessionEncoder(nn.Module):
    """A recurrent reader of events: item vectors in, one session vector out; item i scores `h · E_i + b_i`.

    What is known of an event beside its item is a vector too, and added to the item's before it is read.

    The state is one packed row of `state_size` float32, zero at the start of a session, and holds all that is
    remembered: reading a history in one go, in parts or one event at a time ends in the same state.
    """

    state_size: int

    def __init__(self, n_items: int, config: SessionConfig) -> None:
        super().__init__()
        self.n_items = n_items
        self.config = config
        self.embedding = nn.Embedding(n_items, config.embedding_size)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.tables = EventTables(config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def advance(self, vectors: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read the first `lengths[r]` of row r's vectors (B, L, D) from `state` (B, state_size) on.

        Returns the session vector after each event, (B, L, D), and the state after the last one read; a row of
        length 0 keeps its state. What is returned at padded places has no meaning.
        """
        raise NotImplementedError

    def last(self, vectors: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """As `advance`, with the session vector after the last event read alone, (B, D); for a row of length 0 it has
        no meaning."""
        hidden, state = self.advance(vectors, lengths, state)
        return hidden[torch.arange(len(hidden), device=hidden.device), (lengths - 1).clamp(min=0)], state

    def step(self, state: Tensor, item_vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Read one event each: `state` (B, state_size), `item_vectors` (B, D) -> new state, session vectors (B, D).

        Real arithmetic only, so that it can be exported as a graph; the item table is not part of it.
        """
        raise NotImplementedError

    def forward(self, items: Tensor, codes: Tensor | None = None) -> Tensor:
        """Session vectors after each event, (B, L, D), for item rows (B, L) long; negative on the right is padding.

        `codes` (3, B, L) long, as of `EventTables.codes`: what else is known of the events.
        """
        lengths = (items >= 0).sum(dim=1)
        vectors = self.read(items.clamp(min=0), codes)
        return self.advance(vectors, lengths, vectors.new_zeros(items.shape[0], self.state_size))[0]

    def read(self, items: Tensor, codes: Tensor | None) -> Tensor:
        """What `advance` and `step` take for events of item rows (…) and codes (3, …): their vectors, (…, D)."""
        vectors: Tensor = self.embedding(items)
        return vectors if codes is None else vectors + self.tables(codes)

    def initial_state(self) -> npt.NDArray[np.float32]:
        """The state before the first event, (state_size,) float32."""
        return np.zeros(self.state_size, dtype=np.float32)

    def item_vectors(self) -> npt.NDArray[np.float32]:
        """(n_items, D + 1) float32, rows [E_i | b_i]: their inner products with [session vector | 1] are scores."""
        with torch.no_grad():
            table = torch.cat([self.embedding.weight, self.bias[:, None]], dim=1)
        return table.float().cpu().numpy()

    def input_tables(self) -> InputTables:
        """What serving adds to item vectors before a step."""
        return self.tables.to_release()

    @torch.no_grad()
    def encode(
        self, histories: Histories, *, batch_events: int = 65_536, chunk_length: int = 256
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Session vectors (n_users, D) and states (n_users, state_size), float32, after each whole history.

        Histories of any length are read in chunks of `chunk_length` events, the state carried over; memory follows
        `batch_events`. An empty history gives the zero vector and the initial state. Leaves the mode as it found it.
        """
        was_training, device = self.training, self.bias.device
        self.eval()
        codes = self.tables.codes(histories)
        lengths = np.diff(histories.offsets)
        vectors = np.zeros((len(lengths), self.config.embedding_size), dtype=np.float32)
        states = np.tile(self.initial_state(), (len(lengths), 1))
        for users in _by_length(lengths, max(1, batch_events // chunk_length)):
            starts, left = histories.offsets[users], lengths[users]
            state = torch.from_numpy(states[users]).to(device)
            for begin in range(0, int(left.max()), chunk_length):
                size = np.clip(left - begin, 0, chunk_length)
                places = np.arange(size.max())
                events = np.where(places < size[:, None], starts[:, None] + begin + places, 0)
                inputs = self.read(*_on(device, histories.items[events], None if codes is None else codes[:, events]))
                last, state = self.last(inputs, torch.from_numpy(size).to(device), state)
                ends = np.flatnonzero((size > 0) & (left <= begin + chunk_length))
                vectors[users[ends]] = last[ends].float().cpu().numpy()
            states[users] = state.float().cpu().numpy()
        self.train(was_training)
        return vectors, states


def _by_length(lengths: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Users with any event in groups of at most `size`, like lengths together."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    for begin in range(0, len(order), size):
        yield order[begin : begin + size]


def _on(device: torch.device, items: npt.NDArray[np.int32], codes: Codes | None) -> tuple[Tensor, Tensor | None]:
    """Both as indices of tables."""
    rows = torch.from_numpy(items.astype(np.int64)).to(device)
    return rows, None if codes is None else torch.from_numpy(codes.astype(np.int64)).to(device)


def at_last(values: Tensor, lengths: Tensor, otherwise: Tensor) -> Tensor:
    """`values` (B, L, S) at each row's last place, (B, S); `otherwise` (B, S) for rows of length 0."""
    last = (lengths - 1).clamp(min=0)
    picked = values[torch.arange(len(values), device=values.device), last]
    return torch.where((lengths > 0)[:, None], picked, otherwise)
