"""Rows in lists around centroids, 8 bits a number; a search reads the lists whose centroids score best."""

import math
from typing import Any

import faiss
import numpy as np

from upnext.errors import DataError
from upnext.index.faiss_index import BUILD_THREADS, FaissIndex, checked, padded, threads
from upnext.index.interface import Allowed, Floats

_LISTS_PER_ROOT = 3  # lists per square root of the number of rows
_TRAINING_ROWS_PER_LIST = 50
_ITERATIONS = 10
EFFORTS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_EVEN = 0.01  # relative spread of lengths below which vectors count as equally long
_LONG = 99.0  # percentile of lengths that the equalising column fills up to; few outliers must not decide


class IvfIndex(FaissIndex):
    """faiss's inverted file with a flat coarse quantizer and 8-bit scalar codes."""

    kind = "ivf"

    @classmethod
    def build(cls, vectors: Floats, seed: int = 0) -> "IvfIndex":
        """Over `vectors` (n, dim) float32. Raises `DataError` when there are none or they are not finite."""
        checked(vectors)
        length = even_length(vectors)
        rows = evened(vectors, length)
        n_lists = n_lists_for(len(rows))
        width = rows.shape[1]
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(width), width, n_lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        set_clustering(index.cp, seed)
        with threads(BUILD_THREADS):  # the result is the same with any number
            index.train(rows)
            index.add(rows)
        index.nprobe = min(n_lists, 64)
        built = cls(index, vectors.shape[1])
        built.even_length = length
        return built

    @property
    def parameters(self) -> dict[str, int]:
        return {"nlist": int(self.index.nlist), "nprobe": int(self.index.nprobe)}

    @property
    def efforts(self) -> tuple[int, ...]:
        return tuple(effort for effort in EFFORTS if effort < self.index.nlist) or (int(self.index.nlist),)

    def set_effort(self, effort: int) -> None:
        self.index.nprobe = effort

    def _filtered(self, allowed: Allowed) -> tuple[Any, Any]:
        nprobe = nprobe_for(allowed, self.n_items, int(self.index.nprobe), int(self.index.nlist))
        return self.index, probing(nprobe, allowed)

    def _exhaustive(self, allowed: Allowed | None) -> tuple[Any, Any]:
        return self.index, probing(int(self.index.nlist), allowed)

    def _as_rows(self, vectors: Floats) -> Floats:
        return evened(vectors, known_length(self.even_length))


def n_lists_for(n_items: int) -> int:
    return max(1, min(round(_LISTS_PER_ROOT * math.sqrt(n_items)), n_items // 4))


def set_clustering(parameters: Any, seed: int) -> None:
    """How lists' centroids are found: by direction, from a sample."""
    parameters.spherical = True
    parameters.niter = _ITERATIONS
    parameters.seed = seed
    parameters.min_points_per_centroid = 1
    parameters.max_points_per_centroid = _TRAINING_ROWS_PER_LIST


def nprobe_for(allowed: Allowed, n_items: int, nprobe: int, n_lists: int) -> int:
    """The rarer allowed rows are, the more lists the nearest lie in; by the square root keeps recall (measured)."""
    return min(n_lists, math.ceil(nprobe / math.sqrt(max(allowed.n_allowed, 1) / n_items)))


def probing(nprobe: int, allowed: Allowed | None) -> Any:
    parameters = faiss.SearchParametersIVF()
    parameters.nprobe = nprobe
    if allowed is not None:
        parameters.sel = allowed.selector
    return parameters


def even_length(vectors: Floats) -> float:
    """The length that a further column brings all of `vectors` to; 0 where they are equally long already."""
    lengths = np.linalg.norm(vectors, axis=1)
    if lengths.std() <= _EVEN * lengths.mean():
        return 0.0
    return float(np.percentile(lengths, _LONG))


def evened(vectors: Floats, length: float) -> Floats:
    """Padded, with one more column where `length` is above 0, that makes all vectors so long.

    Queries have a zero there, so scores stay, but clusters form around rows that score alike: maximum inner product
    search becomes nearest neighbour search (Bachrach et al., "Speeding up the Xbox recommender system using a
    Euclidean transformation for inner-product spaces", RecSys 2014). Rows longer than that, of the 99th percentile,
    are left as they are.
    """
    dim = vectors.shape[1]
    if not length:
        return padded(vectors, dim)
    rows = padded(vectors, dim + 1)
    rows[:, dim] = np.sqrt(np.maximum(length**2 - np.square(vectors).sum(axis=1), 0.0))
    return rows


def known_length(length: float | None) -> float:
    if length is None:
        raise DataError("this index was saved by a version that could not add rows; build it anew")
    return length
