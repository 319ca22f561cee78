"""The promise every vector index keeps, and which rows a search may return; knows no kind of index."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]


class Allowed:
    """The rows a search may return, as one bit each. Made once, usable by many searches and threads."""

    __slots__ = ("_bits", "n_allowed", "n_items", "selector")

    def __init__(self, bits: npt.NDArray[np.uint8], n_items: int, n_allowed: int) -> None:
        """`bits` ((n_items + 7) // 8,): row r is allowed where bit r % 8 of byte r // 8 is set."""
        self._bits = bits  # faiss reads it in place
        self.n_items = n_items
        self.n_allowed = n_allowed
        self.selector: Any = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> "Allowed":
        """From a mask (n_items,) bool, copied."""
        return cls(np.packbits(mask, bitorder="little"), len(mask), int(np.count_nonzero(mask)))


class VectorIndex(Protocol):
    """Nearest rows by inner product. Immutable, and safe to search from many threads."""

    n_items: int
    dim: int  # of queries

    @property
    def kind(self) -> str:
        """`flat`, `ivf`, `hnsw` or `pq`."""

    @property
    def parameters(self) -> Mapping[str, int]:
        """What it was built and is searched with."""

    def search(self, queries: Floats, k: int, *, allowed: Allowed | None = None) -> tuple[Floats, Rows]:
        """The nearest of `queries` (n, dim) float32: scores (n, k) float32 and rows (n, k) int32, best first.

        Approximate, except that a place is left over (row -1, score -inf, at the end) only when no further row is
        allowed. Equal calls give equal answers. Runs in the calling thread alone. Raises `DataError` when queries or
        `allowed` are of another size than the index.
        """

    def added(self, vectors: Floats) -> "VectorIndex":
        """Another index with further rows behind; see `FaissIndex.added`."""

    def save(self, path: Path) -> None:
        """Writes one file, which `open_index` maps into memory."""
