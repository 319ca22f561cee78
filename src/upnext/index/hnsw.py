"""Rows as the nodes of a navigable graph, 8 bits a number; a search walks towards the query."""

from typing import Any

import faiss

from upnext.index.faiss_index import FaissIndex, checked, padded, threads
from upnext.index.interface import Allowed, Floats

_faiss: Any = faiss  # its type stubs lack what follows
_NEIGHBOURS = 16
_BUILD_EFFORT = 80
_EFFORTS = (128, 256, 512, 800, 1200)
_NEARLY_ALL = 0.8


class HnswIndex(FaissIndex):
    """faiss's HNSW graph (Malkov and Yashunin, 2018) over 8-bit scalar codes."""

    kind = "hnsw"

    @classmethod
    def build(cls, vectors: Floats, seed: int = 0) -> "HnswIndex":
        """Over `vectors` (n, dim) float32, in one thread, so that equal vectors give equal graphs.

        Raises `DataError` when there are none or they are not finite.
        """
        checked(vectors)
        rows = padded(vectors, vectors.shape[1])
        index = _faiss.IndexHNSWSQ(
            rows.shape[1], faiss.ScalarQuantizer.QT_8bit, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction = _BUILD_EFFORT
        index.hnsw.efSearch = _EFFORTS[2]
        with threads(1):
            index.train(rows)
            index.add(rows)
        return cls(index, vectors.shape[1])

    def __init__(self, index: Any, dim: int) -> None:
        super().__init__(index, dim)
        self._rows = faiss.downcast_index(index.storage)

    @property
    def parameters(self) -> dict[str, int]:
        return {"neighbours": _NEIGHBOURS, "ef": int(self.index.hnsw.efSearch)}

    @property
    def efforts(self) -> tuple[int, ...]:
        return _EFFORTS

    def set_effort(self, effort: int) -> None:
        self.index.hnsw.efSearch = effort

    def _filtered(self, allowed: Allowed) -> tuple[Any, Any]:
        """Through the graph only when nearly all rows are allowed: walking past the others costs more than a scan."""
        if allowed.n_allowed < _NEARLY_ALL * self.n_items:
            return self._exhaustive(allowed)
        parameters = _faiss.SearchParametersHNSW()
        parameters.efSearch = self.index.hnsw.efSearch
        parameters.sel = allowed.selector
        return self.index, parameters

    def _exhaustive(self, allowed: Allowed | None) -> tuple[Any, Any]:
        if allowed is None:
            return self._rows, None
        parameters = faiss.SearchParameters()
        parameters.sel = allowed.selector
        return self._rows, parameters
