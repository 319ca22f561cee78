"""A ranker's table of items and how the row of an item posted later is made; knows no ranker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from upnext.features.fold import fold_rows

Floats = npt.NDArray[np.float32]
Table = npt.NDArray[Any]


class ItemSide(Protocol):
    """What a ranker keeps of every item."""

    @property
    def table(self) -> Table:
        """(n_items, width), of the ranker's own type."""

    def rows(self, item_inputs: Floats) -> Table:
        """Rows (n, width) of the table for raw inputs (n, d_item)."""


@dataclass(frozen=True)
class FoldedSide:
    """The item side of the first layer, worked out in advance: see `fold_rows`."""

    table: Table
    weight: Floats
    offset: Floats

    def rows(self, item_inputs: Floats) -> Table:
        return fold_rows(item_inputs, self.weight, self.offset)


@dataclass(frozen=True)
class RawSide:
    """The raw inputs themselves, or some of their columns, for rankers that read them."""

    table: Table
    columns: Sequence[int]

    def rows(self, item_inputs: Floats) -> Table:
        return item_inputs[:, list(self.columns)]
