"""Fits linear models of who chose what; knows neither logs nor releases."""

from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError
from upnext.models.linear import (
    LinearConfig,
    NeighbourLists,
    check_ease_fits,
    in_lists,
    largest_of_rows,
    neighbour_lists,
    owners,
)

Floats = npt.NDArray[np.float32]
UserItems = Any
"""A scipy.sparse.csr_matrix (n_users, n_items), float32: how much each user chose each item, 1 for a plain choice."""

KNN_BLOCK = 4_096
"""Items whose cosines with all others are held at once."""
SLIM_BLOCK = 64
"""Items whose weights are found together."""
SLIM_SWEEPS = 30
SLIM_TOLERANCE = 1e-4
"""Rounds over the coordinates, fewer when no weight changes by more than this."""


def user_items_of(users: npt.NDArray[np.integer], items: npt.NDArray[np.integer], shape: tuple[int, int]) -> UserItems:
    """Who chose what, `shape` (n_users, n_items) float32 of ones: repetitions say little beside the fact itself."""
    from scipy import sparse

    matrix = sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=shape)
    matrix.data[:] = 1
    return matrix


def fit_linear(user_items: UserItems, config: LinearConfig) -> NeighbourLists | None:
    """The neighbour lists that the settings ask for; None for kind "none". Raises TrainingError as `fit_ease` does."""
    kind = config.kind_for(user_items.shape[1])
    if kind == "none":
        return None
    if kind == "ease":
        matrix = fit_ease(user_items, config.ease_l2, most_bytes=config.ease_bytes)
    elif kind == "slim":
        matrix = fit_slim(user_items, l1=config.slim_l1, l2=config.slim_l2, n_candidates=config.slim_candidates)
    else:
        matrix = fit_item_knn(user_items, shrinkage=config.knn_shrinkage, width=config.width)
    lists = neighbour_lists(matrix, config.width)
    return refitted(user_items, lists, config.refit_l2) if config.refit_l2 > 0 else lists


def refitted(user_items: UserItems, lists: NeighbourLists, l2: float) -> NeighbourLists:
    """The same neighbours with the weights that foretell best together: of least |X - XB|² + l2 |B|² over these alone.

    Column j of B is a ridge regression of item j on the items that have j in their list. Unlike weights cut out of a
    larger matrix, these make up for what was left out; on MovieLens that is nearly all that the cut had lost.
    """
    from scipy.linalg import solve

    gram, support = _gram(user_items), lists.matrix().tocsc()
    for item in range(support.shape[1]):
        part = slice(support.indptr[item], support.indptr[item + 1])
        own = support.indices[part]
        if len(own):
            normal = gram[own][:, own].toarray()
            normal[np.diag_indices_from(normal)] += np.float32(l2)
            wanted = gram[own, item].toarray().ravel()
            support.data[part] = solve(normal, wanted, assume_a="pos", overwrite_a=True, check_finite=False)
    return in_lists(support.tocsr(), lists.rows.shape[1])


def fit_ease(user_items: UserItems, l2: float, *, most_bytes: int = 8 * 2**30) -> Floats:
    """EASE (Steck, WWW 2019): B (n_items, n_items) of least |X - XB|² + l2 |B|² with a diagonal of 0, in closed form.

    With P = (XᵀX + l2)⁻¹ that is B[i, j] = -P[i, j] / P[j, j]. Raises TrainingError when `l2` is not above 0, or the
    catalogue does not fit into `most_bytes`.
    """
    from scipy.linalg import lapack

    if l2 <= 0:
        raise TrainingError(f"linear.ease_l2 is {l2}; it must be above 0, or items nobody chose have no solution")
    check_ease_fits(user_items.shape[1], most_bytes)
    gram = _gram(user_items).toarray(order="F")
    gram[np.diag_indices_from(gram)] += np.float32(l2)
    factor, failed = lapack.spotrf(gram, overwrite_a=True)
    if not failed:
        inverse, failed = lapack.spotri(factor, overwrite_c=True)
    if failed:
        raise TrainingError(f"EASE has no stable solution with l2 {l2}; raise linear.ease_l2")
    diagonal = inverse.diagonal().copy()
    weights: Floats = np.triu(inverse, 1)
    del factor, inverse
    weights += weights.T
    weights /= -diagonal
    return weights


def fit_item_knn(user_items: UserItems, *, shrinkage: float, width: int) -> Any:
    """Cosine between items' users, shrunk (Sarwar et al., WWW 2001): shared / (√(n_i n_j) + shrinkage).

    A csr_matrix (n_items, n_items) float32 with a diagonal of 0 and at most `width` entries in a row, the largest.
    """
    from scipy import sparse

    n_items = user_items.shape[1]
    by_item = user_items.T.tocsr()
    lengths = np.sqrt(np.asarray(by_item.multiply(by_item).sum(axis=1)).ravel())
    lists = []
    for begin in range(0, n_items, KNN_BLOCK):
        shared = (by_item[begin : begin + KNN_BLOCK] @ user_items).tocsr()
        own = begin + owners(shared)
        shared.data = shared.data / (lengths[own] * lengths[shared.indices] + np.float32(shrinkage))
        shared.data[own == shared.indices] = 0
        shared.eliminate_zeros()
        lists.append(largest_of_rows(shared, width))
    return sparse.vstack(lists, format="csr", dtype=np.float32)


def fit_slim(user_items: UserItems, *, l1: float, l2: float, n_candidates: int) -> Any:
    """SLIM (Ning and Karypis, ICDM 2011): B ≥ 0 of least |X - XB|²/2 + l2 |B|²/2 + l1 Σ B, diagonal 0, sparse.

    Column j may use the `n_candidates` items most often chosen together with j (a pre-selection, as in the paper's
    fsSLIM); coordinate descent over the candidates of `SLIM_BLOCK` columns at once. A csr_matrix (n_items, n_items).
    Raises TrainingError for an `l1` below 0 or an `l2` not above it.
    """
    from scipy import sparse

    if l1 < 0 or l2 <= 0:
        raise TrainingError(f"linear.slim_l1 is {l1} and slim_l2 {l2}; the first must not be below 0, nor the second 0")
    n_items = user_items.shape[1]
    gram = _gram(user_items)
    together = largest_of_rows(_without_diagonal(gram), n_candidates)
    rows, columns, values = [], [], []
    for begin in range(0, n_items, SLIM_BLOCK):
        block = np.arange(begin, min(begin + SLIM_BLOCK, n_items))
        candidates, weights = _slim_block(gram, together, block, l1, l2)
        kept = weights > 0
        rows.append(candidates[kept])
        columns.append(np.broadcast_to(block[:, None], kept.shape)[kept])
        values.append(weights[kept])
    parts = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(parts, shape=(n_items, n_items), dtype=np.float32)


def fit_ials(
    user_items: UserItems, *, factors: int, regularization: float, alpha: float, iterations: int, seed: int
) -> tuple[Floats, Floats]:
    """Weighted matrix factorisation (Hu, Koren and Volinsky, ICDM 2008) with the library `implicit`, in one thread.

    User factors (n_users, factors) and item factors (n_items, factors) float32; item i scores their inner product.
    A choice weighs `alpha` times its value, everything not chosen 1.
    """
    model = ials_model(factors, regularization, alpha, iterations, seed)
    model.fit(user_items, show_progress=False)
    return np.asarray(model.user_factors, np.float32), np.asarray(model.item_factors, np.float32)


def ials_model(factors: int, regularization: float, alpha: float, iterations: int, seed: int) -> Any:
    """`implicit`'s model before it is fitted."""
    from implicit.cpu.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=factors, regularization=regularization, alpha=alpha, iterations=iterations, num_threads=1,
        random_state=seed,
    )  # fmt: skip


def _gram(user_items: UserItems) -> Any:
    return (user_items.T @ user_items).tocsr().astype(np.float32)


def _without_diagonal(gram: Any) -> Any:
    kept = gram.copy()
    kept.setdiag(0)
    kept.eliminate_zeros()
    return kept


def _slim_block(gram: Any, together: Any, block: npt.NDArray[np.int64], l1: float, l2: float) -> tuple[Any, Floats]:
    """Candidates (n, m) and weights (n, m) of the columns in `block`; missing candidates have weight 0."""
    counts = np.diff(together.indptr)[block]
    m = max(1, int(counts.max()))
    candidates = np.zeros((len(block), m), np.int64)
    quadratic = np.zeros((len(block), m, m), np.float32)
    linear = np.zeros((len(block), m), np.float32)
    for place, item in enumerate(block.tolist()):
        own = together.indices[together.indptr[item] : together.indptr[item + 1]]
        n = len(own)
        candidates[place, :n] = own
        quadratic[place, :n, :n] = gram[own][:, own].toarray()
        linear[place, :n] = gram[own, item].toarray().ravel()
    return candidates, _descend(quadratic, linear, l1, l2)


def _descend(quadratic: Floats, linear: Floats, l1: float, l2: float) -> Floats:
    """Weights w ≥ 0 (n, m) of least wᵀQw/2 - wᵀc + l1 Σ w + l2 |w|²/2, n problems at once, by coordinates."""
    weights = np.zeros_like(linear)
    gradient = linear - np.float32(l1)  # of what is left to explain
    diagonal = np.einsum("nmm->nm", quadratic)
    for _ in range(SLIM_SWEEPS):
        largest = 0.0
        for k in range(linear.shape[1]):
            old = weights[:, k].copy()
            new = np.maximum(0, gradient[:, k] + diagonal[:, k] * old) / (diagonal[:, k] + np.float32(l2))
            change = new - old
            weights[:, k] = new
            gradient -= change[:, None] * quadratic[:, k]
            largest = max(largest, float(np.abs(change).max(initial=0)))
        if largest < SLIM_TOLERANCE:
            break
    return weights
