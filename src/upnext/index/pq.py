"""Rows in lists around centroids, half a byte per two numbers; the best of a scan are looked at again in 8 bits."""

from typing import Any

import faiss
import numpy as np

from upnext.index.faiss_index import BUILD_THREADS, FaissIndex, checked, threads
from upnext.index.interface import Allowed, Floats
from upnext.index.ivf import (
    EFFORTS,
    even_length,
    evened,
    known_length,
    n_lists_for,
    nprobe_for,
    probing,
    set_clustering,
)

_faiss: Any = faiss  # its type stubs lack what follows
_NUMBERS_PER_CODE = 2
_REFINED = 4  # rows looked at again for each that is asked for; twice as many lost nothing measured, four is safe
_FEWEST_TRAINING_ROWS = 16  # values of a code


class PqIndex(FaissIndex):
    """faiss's inverted file with product quantization (Jégou, Douze and Schmid, TPAMI 2011).

    A scan reads 4-bit codes held in registers (André, Kermarrec and Le Scouarnec, "Cache locality is not enough",
    VLDB 2015), a quarter of what `ivf` reads; the 8-bit rows are touched for the best `_REFINED` × k only, so that with
    a mapped file they need not all be in memory.
    """

    kind = "pq"

    @classmethod
    def build(cls, vectors: Floats, seed: int = 0) -> "PqIndex":
        """Over `vectors` (n, dim) float32. Raises `DataError` when there are none or they are not finite."""
        checked(vectors)
        length = even_length(vectors)
        rows = evened(vectors, length)
        width = rows.shape[1]
        n_codes, n_lists = width // _NUMBERS_PER_CODE, n_lists_for(len(rows))
        index = _faiss.index_factory(width, f"IVF{n_lists},PQ{n_codes}x4fsr,Refine(SQ8)", faiss.METRIC_INNER_PRODUCT)
        base: Any = faiss.downcast_index(index.base_index)
        set_clustering(base.cp, seed)
        base.pq.cp.seed = seed
        base.pq.cp.min_points_per_centroid = 1
        training = np.resize(rows, (max(len(rows), _FEWEST_TRAINING_ROWS), width))
        with threads(BUILD_THREADS):  # the result is the same with any number
            index.train(training)
            index.add(rows)
        index.k_factor = _REFINED
        base.nprobe = min(n_lists, 64)
        built = cls(index, vectors.shape[1])
        built.even_length = length
        return built

    def __init__(self, index: Any, dim: int) -> None:
        super().__init__(index, dim)
        self._base: Any = faiss.downcast_index(index.base_index)
        self._rows: Any = faiss.downcast_index(index.refine_index)

    @property
    def parameters(self) -> dict[str, int]:
        """Among them the bytes of a row that every scan reads, and those of one looked at again."""
        return {
            "nlist": int(self._base.nlist),
            "nprobe": int(self._base.nprobe),
            "refined": int(self.index.k_factor),
            "scanned_bytes": int(self._base.pq.code_size),
            "refined_bytes": int(self.index.d),
        }

    @property
    def efforts(self) -> tuple[int, ...]:
        return tuple(effort for effort in EFFORTS if effort < self._base.nlist) or (int(self._base.nlist),)

    def set_effort(self, effort: int) -> None:
        self._base.nprobe = effort

    def _filtered(self, allowed: Allowed) -> tuple[Any, Any]:
        nprobe = nprobe_for(allowed, self.n_items, int(self._base.nprobe), int(self._base.nlist))
        return self.index, self._refining(nprobe, allowed)

    def _exhaustive(self, allowed: Allowed | None) -> tuple[Any, Any]:
        """The 8-bit rows alone: a scan of codes may leave out a row that is worst in all of them."""
        if allowed is None:
            return self._rows, None
        parameters = faiss.SearchParameters()
        parameters.sel = allowed.selector
        return self._rows, parameters

    def _refining(self, nprobe: int, allowed: Allowed | None) -> Any:
        scan = probing(nprobe, allowed)
        parameters = _faiss.IndexRefineSearchParameters(k_factor=self.index.k_factor, base_index_params=scan)
        parameters.kept = scan  # faiss holds a bare pointer to it
        return parameters

    def _as_rows(self, vectors: Floats) -> Floats:
        return evened(vectors, known_length(self.even_length))
