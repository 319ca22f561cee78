"""Rows in lists around centroids, 8 bits a number; a search reads the lists whose centroids score best."""

import math
from typing import Any

import faiss
import numpy as np

from upnext.index.faiss_index import BUILD_THREADS, FaissIndex, checked, padded, threads
from upnext.index.interface import Allowed, Floats

_LISTS_PER_ROOT = 3  # lists per square root of the number of rows
_TRAINING_ROWS_PER_LIST = 50
_ITERATIONS = 10
_EFFORTS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_EVEN = 0.01  # relative spread of lengths below which vectors count as equally long
_LONG = 99.0  # percentile of lengths that the equalising column fills up to; few outliers must not decide


class IvfIndex(FaissIndex):
    """faiss's inverted file with a flat coarse quantizer and 8-bit scalar codes."""

    kind = "ivf"

    @classmethod
    def build(cls, vectors: Floats, seed: int = 0) -> "IvfIndex":
        """Over `vectors` (n, dim) float32. Raises `DataError` when there are none or they are not finite."""
        checked(vectors)
        rows = _evened(vectors)
        n_lists = max(1, min(round(_LISTS_PER_ROOT * math.sqrt(len(rows))), len(rows) // 4))
        width = rows.shape[1]
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(width), width, n_lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.spherical = True
        index.cp.niter = _ITERATIONS
        index.cp.seed = seed
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = _TRAINING_ROWS_PER_LIST
        with threads(BUILD_THREADS):  # the result is the same with any number
            index.train(rows)
            index.add(rows)
        index.nprobe = min(n_lists, 64)
        return cls(index, vectors.shape[1])

    @property
    def parameters(self) -> dict[str, int]:
        return {"nlist": int(self.index.nlist), "nprobe": int(self.index.nprobe)}

    @property
    def efforts(self) -> tuple[int, ...]:
        return tuple(effort for effort in _EFFORTS if effort < self.index.nlist) or (int(self.index.nlist),)

    def set_effort(self, effort: int) -> None:
        self.index.nprobe = effort

    def _filtered(self, allowed: Allowed) -> tuple[Any, Any]:
        """The rarer allowed rows are, the more lists the nearest lie in; by the square root keeps recall (measured)."""
        share = max(allowed.n_allowed, 1) / self.n_items
        return self.index, _probing(
            min(int(self.index.nlist), math.ceil(self.index.nprobe / math.sqrt(share))), allowed
        )

    def _exhaustive(self, allowed: Allowed | None) -> tuple[Any, Any]:
        return self.index, _probing(int(self.index.nlist), allowed)


def _probing(nprobe: int, allowed: Allowed | None) -> Any:
    parameters = faiss.SearchParametersIVF()
    parameters.nprobe = nprobe
    if allowed is not None:
        parameters.sel = allowed.selector
    return parameters


def _evened(vectors: Floats) -> Floats:
    """Padded, with one more column where lengths differ, that makes all equally long.

    Queries have a zero there, so scores stay, but clusters form around rows that score alike: maximum inner product
    search becomes nearest neighbour search (Bachrach et al., "Speeding up the Xbox recommender system using a
    Euclidean transformation for inner-product spaces", RecSys 2014). Rows longer than the 99th percentile are left
    as they are.
    """
    dim = vectors.shape[1]
    lengths = np.linalg.norm(vectors, axis=1)
    if lengths.std() <= _EVEN * lengths.mean():
        return padded(vectors, dim)
    long = np.percentile(lengths, _LONG)
    rows = padded(vectors, dim + 1)
    rows[:, dim] = np.sqrt(np.maximum(long**2 - lengths**2, 0.0))
    return rows
