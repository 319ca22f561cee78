"""What all kinds share: a lean, single-threaded search over a faiss index, and its file; builds nothing."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import faiss
import msgspec
import numpy as np

from upnext.errors import DataError
from upnext.index.interface import Allowed, Floats, Rows

MAGIC = b"UPNXTIX1"
_MULTIPLE = 16  # faiss's scalar quantizers have vector kernels for multiples of it
# faiss would hand larger batches to a BLAS with threads of its own.
_CHUNK = 16
BUILD_THREADS: int = faiss.omp_get_max_threads()  # before any search has made it one


class Header(msgspec.Struct, frozen=True):
    """What the faiss part of an index file does not say. Stands behind it, so that faiss can map its own part."""

    kind: str
    dim: int
    even_length: float | None = None  # see `IvfIndex`; absent in files of before


class _Buffers(threading.local):
    """Where faiss reads queries and writes answers, a set per thread, with their addresses."""

    def __init__(self, width: int) -> None:
        faiss.omp_set_num_threads(1)  # a setting of each calling thread
        self.queries = np.zeros((_CHUNK, width), np.float32)  # past the index's `dim` they stay zero
        self.queries_at: Any = faiss.swig_ptr(self.queries)
        self.make_room(512)

    def make_room(self, k: int) -> None:
        self.k = k
        self.scores = np.empty(_CHUNK * k, np.float32)
        self.rows = np.empty(_CHUNK * k, np.int64)
        self.scores_at: Any = faiss.swig_ptr(self.scores)
        self.rows_at: Any = faiss.swig_ptr(self.rows)


class FaissIndex(ABC):
    """A faiss index and how its kind is asked; `VectorIndex` but for what the kinds differ in."""

    kind: ClassVar[str]

    def __init__(self, index: Any, dim: int) -> None:
        self.index = index
        self.dim = dim
        self.n_items = int(index.ntotal)
        self.even_length: float | None = None  # of all rows, with a column that makes them so; 0: there is none
        self._buffers = _Buffers(int(index.d))

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, int]: ...

    @property
    @abstractmethod
    def efforts(self) -> tuple[int, ...]:
        """Values of the search parameter worth trying, the fastest first; (0,) when there is none."""

    @abstractmethod
    def set_effort(self, effort: int) -> None:
        """Sets the search parameter; not while others search."""

    def added(self, vectors: Floats) -> Self:
        """Another index with `vectors` (n, dim) as rows after those of this one, which stays as it is.

        The new rows are coded, and put into lists, as the old ones taught. Raises `DataError` for vectors of another
        size or not finite, and for an index from a file that does not say enough: build that anew.
        """
        checked(vectors)
        if vectors.shape[1] != self.dim:
            raise DataError(f"rows of {vectors.shape[1]} dimensions for an index of {self.dim}; build it anew")
        rows = self._as_rows(vectors)
        copy = faiss.deserialize_index(faiss.serialize_index(self.index))  # owns its memory, where this one maps a file
        with threads(1):
            copy.add(rows)
        grown = type(self)(copy, self.dim)
        grown.even_length = self.even_length
        return grown

    def _as_rows(self, vectors: Floats) -> Floats:
        """As faiss stores them, (n, width)."""
        return padded(vectors, self.dim)

    @abstractmethod
    def _filtered(self, allowed: Allowed) -> tuple[Any, Any]:
        """The faiss index and its search parameters for a filtered search."""

    @abstractmethod
    def _exhaustive(self, allowed: Allowed | None) -> tuple[Any, Any]:
        """The faiss index and its search parameters for a search that looks at every allowed row."""

    def search(self, queries: Floats, k: int, *, allowed: Allowed | None = None) -> tuple[Floats, Rows]:
        n, dim = queries.shape
        if dim != self.dim or k < 1:
            raise DataError(f"queries of {dim} dimensions for {k} rows; this index takes {self.dim} and at least 1")
        index, parameters = self.index, None
        if allowed is not None:
            if allowed.n_items != self.n_items:
                raise DataError(f"a filter over {allowed.n_items} rows for an index of {self.n_items}; make it anew")
            index, parameters = self._filtered(allowed)
        if n == 1:
            return self._search(index, queries, k, parameters, allowed)
        scores, rows = np.empty((n, k), np.float32), np.empty((n, k), np.int32)
        for start in range(0, n, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            scores[chunk], rows[chunk] = self._search(index, queries[chunk], k, parameters, allowed)
        return scores, rows

    def save(self, path: Path) -> None:
        faiss.write_index(self.index, str(path))
        header = msgspec.json.encode(Header(self.kind, self.dim, self.even_length))
        with path.open("ab") as file:
            file.write(header + len(header).to_bytes(4, "little") + MAGIC)

    def _search(
        self, index: Any, queries: Floats, k: int, parameters: Any, allowed: Allowed | None
    ) -> tuple[Floats, Rows]:
        """At most `_CHUNK` queries; those that got too few rows ask once more, of all rows."""
        scores, rows = self._ask(index, queries, k, parameters)
        if min(rows[:, -1].tolist()) >= 0:
            return scores, rows
        possible = min(k, self.n_items if allowed is None else allowed.n_allowed)
        short = (rows >= 0).sum(axis=1) < possible
        if short.any():
            index, parameters = self._exhaustive(allowed)
            scores[short], rows[short] = self._ask(index, queries[short], k, parameters)
        scores[rows < 0] = -np.inf
        return scores, rows

    def _ask(self, index: Any, queries: Floats, k: int, parameters: Any) -> tuple[Floats, Rows]:
        """One call of faiss, without the checks and copies of its Python layer."""
        buffers = self._buffers
        if k > buffers.k:
            buffers.make_room(k)
        n = len(queries)
        buffers.queries[:n, : self.dim] = queries
        index.search_c(n, buffers.queries_at, k, buffers.scores_at, buffers.rows_at, parameters)
        size = n * k
        return buffers.scores[:size].reshape(n, k).copy(), buffers.rows[:size].reshape(n, k).astype(np.int32)


def checked(vectors: Floats) -> None:
    """Raises `DataError` unless `vectors` are (n, dim) with at least one row and all numbers finite."""
    if vectors.ndim != 2 or not vectors.size:
        raise DataError(f"an index needs vectors of shape (n, dim), not {vectors.shape}; check the catalogue")
    if not np.isfinite(vectors).all():
        rows = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        raise DataError(f"{len(rows)} vectors are not finite, the first in row {rows[0]}; check the model's training")


def padded(vectors: Floats, width: int) -> Floats:
    """With zero columns on the right: (n, width') float32, width' the next multiple of 16 from `width` up."""
    result = np.zeros((len(vectors), width + -width % _MULTIPLE), np.float32)
    result[:, : vectors.shape[1]] = vectors
    return result


@contextmanager
def threads(n: int) -> Iterator[None]:
    """faiss computes with `n` threads when called from this one."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(n)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
