"""Linear item-to-item models: their settings and their form as neighbour lists; how they are fitted it does not know.

Every such model is a matrix B (n_items, n_items): a user with the items I scores item j Σ_{i in I} B[i, j]. Only the
largest entries of each row are served: row i then says which items a choice of i speaks for, and how much.
"""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
LinearKind = Literal["auto", "ease", "item_knn", "slim", "none"]

EASE_MATRICES = 2
"""Matrices (n_items, n_items) of float32 held at once while EASE is solved."""


class LinearConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the linear model whose neighbour lists a release holds."""

    # auto: EASE up to `ease_items` items, above it item_knn. none: no neighbour lists.
    kind: LinearKind = "auto"
    # Neighbours kept per item.
    width: int = 64
    # Weight of the penalty Σ B² when the weights of the kept neighbours are fitted anew, to foretell together; 0 leaves
    # them as the model had them, each made for a larger company.
    refit_l2: float = 300.0
    # Largest catalogue for which `auto` takes EASE, whose time grows with the cube of the items.
    ease_items: int = 20_000
    # Weight of EASE's penalty Σ B²; higher for fewer interactions per item, 100 to 1,000 is usual.
    ease_l2: float = 300.0
    # Most memory that EASE may take; past that training refuses.
    ease_bytes: int = 8 * 2**30
    # Users that a pair of items must share before its cosine counts half.
    knn_shrinkage: float = 20.0
    # Weights of SLIM's penalties Σ |B| and Σ B² / 2.
    slim_l1: float = 5.0
    slim_l2: float = 100.0
    # Items that SLIM may give a weight, per item: those most often chosen by the same users.
    slim_candidates: int = 200

    def kind_for(self, n_items: int) -> LinearKind:
        """The kind of model for a catalogue of so many items; never "auto"."""
        if self.kind != "auto":
            return self.kind
        return "ease" if n_items <= self.ease_items else "item_knn"


@dataclass(frozen=True, slots=True)
class NeighbourLists:
    """The items that each item speaks for. `rows` (n_items, width) int32, strongest first, -1 where there are fewer;
    `weights` (n_items, width) float32, 0 there; one below 0 speaks against.
    """

    rows: Rows
    weights: Floats

    def scores(self, histories: Any) -> Floats:
        """Scores of all items, (n, n_items) float32, for a sparse matrix of that shape of what was chosen."""
        return np.asarray((histories @ self.matrix()).toarray(), dtype=np.float32)

    def matrix(self) -> Any:
        """B as a scipy.sparse.csr_matrix (n_items, n_items) float32."""
        from scipy import sparse

        n_items, known = len(self.rows), self.rows >= 0
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(known.sum(axis=1))])
        return sparse.csr_matrix((self.weights[known], self.rows[known], indptr), shape=(n_items, n_items))


def check_ease_fits(n_items: int, most_bytes: int) -> None:
    """Raises TrainingError when solving EASE for so many items would take more than `most_bytes`."""
    needed = EASE_MATRICES * 4 * n_items**2
    if needed > most_bytes:
        raise TrainingError(
            f"EASE over {n_items:,} items needs {needed / 2**30:.1f} GiB and may take {most_bytes / 2**30:.1f} GiB; "
            f'raise linear.ease_bytes, or set linear.kind to "slim" or "item_knn"'
        )


def neighbour_lists(matrix: Any, width: int) -> NeighbourLists:
    """The `width` largest positive entries of each row of `matrix` (n_items, n_items), dense or a scipy csr_matrix.

    The diagonal does not count. Of equal weights the lower row stands first.
    """
    kept = _largest_of_dense_rows(matrix, width) if isinstance(matrix, np.ndarray) else matrix.copy()
    kept.data[owners(kept) == kept.indices] = 0
    kept.data[kept.data < 0] = 0
    kept.eliminate_zeros()
    return in_lists(kept, width)


def in_lists(matrix: Any, width: int) -> NeighbourLists:
    """The `width` largest entries of each row of a csr_matrix, those below 0 among them where there is room."""
    n_items = matrix.shape[0]
    kept = largest_of_rows(matrix, width)
    owner = owners(kept)
    place = np.arange(len(owner)) - kept.indptr[owner]
    rows, weights = np.full((n_items, width), -1, np.int32), np.zeros((n_items, width), np.float32)
    rows[owner, place], weights[owner, place] = kept.indices, kept.data
    return NeighbourLists(rows, weights)


def largest_of_rows(matrix: Any, width: int) -> Any:
    """A csr_matrix of the `width` largest entries of each row, in falling order; of equal ones the lower column's."""
    from scipy import sparse

    owner = owners(matrix)
    order = np.lexsort((matrix.indices, -matrix.data, owner))  # owner is sorted already, so it stays as it is
    order = order[np.arange(len(owner)) - matrix.indptr[owner] < width]
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(owner[order], minlength=matrix.shape[0]))])
    return sparse.csr_matrix((matrix.data[order], matrix.indices[order], indptr), shape=matrix.shape)


def owners(matrix: Any) -> npt.NDArray[np.int64]:
    """The row of each stored entry of a csr_matrix."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _largest_of_dense_rows(matrix: Floats, width: int) -> Any:
    """A csr_matrix with at least the `width` largest entries of each row, the diagonal aside."""
    from scipy import sparse

    most = min(width + 1, matrix.shape[1])  # one more, for the diagonal
    edge = np.partition(matrix, -most, axis=1)[:, -most, None]
    return sparse.csr_matrix(np.where(matrix >= edge, matrix, 0))
