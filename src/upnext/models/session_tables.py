"""What a session encoder learns of actions, time gaps and values: a vector each, added to the item's; no recurrence."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from upnext.domain.event import ACTIONS
from upnext.features.session_inputs import N_GAPS, InputTables, gap_buckets, value_buckets

N_VALUES = 8
"""Most buckets of known values; the one before them is for unknown ones."""
NO_ACTION = len(ACTIONS)
Codes = npt.NDArray[np.uint8]


class Histories(Protocol):
    """Any holder of flat histories: user u owns `items[offsets[u]:offsets[u + 1]]`, oldest first.

    What is known beside the item is None or (n_events,) long: action codes, milliseconds since the event before in the
    same history (below 0 for none), values (NaN for none).
    """

    @property
    def offsets(self) -> npt.NDArray[np.int64]: ...

    @property
    def items(self) -> npt.NDArray[np.int32]: ...

    @property
    def actions(self) -> npt.NDArray[np.uint8] | None: ...

    @property
    def values(self) -> npt.NDArray[np.float32] | None: ...

    def gaps_ms(self) -> npt.NDArray[np.int64] | None: ...


class EventTables(nn.Module):
    """A vector for each action, gap bucket and value bucket; zero for what is unknown and for what was never met."""

    value_edges: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        # What is unknown has a row that stays zero: it adds nothing, and learns nothing.
        self.actions = nn.Embedding(len(ACTIONS) + 1, size, padding_idx=NO_ACTION)
        self.gaps = nn.Embedding(N_GAPS, size, padding_idx=0)
        self.values = nn.Embedding(N_VALUES + 1, size, padding_idx=0)
        for table in (self.actions, self.gaps, self.values):
            nn.init.zeros_(table.weight)
        self.register_buffer("value_edges", torch.full((N_VALUES - 1,), torch.inf))

    def forward(self, codes: Tensor) -> Tensor:
        """(…, D) to be added to item vectors, for `codes` (3, …) long: action, gap bucket, value bucket."""
        total: Tensor = self.actions(codes[0]) + self.gaps(codes[1]) + self.values(codes[2])
        return total

    def fit_edges(self, values: npt.NDArray[np.float32] | None) -> None:
        """Cut the values at their own quantiles, or between all of them where there are few; once, before training."""
        known = np.empty(0, np.float32) if values is None else values[~np.isnan(values)]
        distinct = np.unique(known)
        if len(distinct) > N_VALUES:
            shares = np.arange(1, N_VALUES) / N_VALUES
            distinct = np.unique(np.append(distinct[0], np.quantile(known, shares, method="inverted_cdf")))
        self.value_edges.fill_(torch.inf)
        edges = torch.from_numpy(distinct[1:])
        self.value_edges[: len(edges)] = edges

    def codes(self, histories: Histories) -> Codes | None:
        """(3, n_events) uint8 as `forward` takes them; None where nothing is known of the events but their items."""
        actions, gaps_ms, values = histories.actions, histories.gaps_ms(), histories.values
        if actions is None and gaps_ms is None and values is None:
            return None
        codes = np.zeros((3, len(histories.items)), np.uint8)
        codes[0] = NO_ACTION if actions is None else np.minimum(actions, NO_ACTION)
        if gaps_ms is not None:
            codes[1] = gap_buckets(gaps_ms)
        if values is not None:
            codes[2] = value_buckets(values, self._edges())
        return codes

    def to_release(self) -> InputTables:
        """The tables as serving adds them; None for one that has learnt nothing."""

        def rows(table: nn.Embedding, n: int) -> npt.NDArray[np.float32] | None:
            weight: npt.NDArray[np.float32] = table.weight.detach()[:n].float().cpu().numpy().copy()
            return weight if weight.any() else None

        return InputTables(
            actions=rows(self.actions, NO_ACTION),
            gaps=rows(self.gaps, N_GAPS),
            values=rows(self.values, N_VALUES + 1),
            value_edges=self._edges(),
        )

    def _edges(self) -> npt.NDArray[np.float32]:
        edges: npt.NDArray[np.float32] = self.value_edges.float().cpu().numpy()
        return edges[np.isfinite(edges)]


def telling(codes: Codes) -> Codes:
    """The codes without those columns that are the same for all events where they are known: they tell nothing.

    A log of one action would otherwise move all items alike, and an event of another action would be read as noise.
    """
    unknown = np.array([NO_ACTION, 0, 0], np.uint8)
    kept = codes.copy()
    for row, nothing in enumerate(unknown):
        if len(np.unique(codes[row][codes[row] != nothing])) < 2:
            kept[row] = nothing
    return kept
