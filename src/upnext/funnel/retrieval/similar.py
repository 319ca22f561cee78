"""Items like one item, in the first space that knows it: what is in the index and what is not yet."""

import numpy as np
import numpy.typing as npt

from upnext.features.item_vectors import ItemVectors
from upnext.funnel.retrieval.sources import Eligible, Indexes, best_of

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
SPACES = ("user", "session", "content")


def similar_rows(
    row: int, n: int, vectors: ItemVectors, indexes: Indexes, eligible: Eligible | None, spare: int, fresh_rows: Rows
) -> tuple[Rows, Floats] | None:
    """The (≤ n,) rows nearest to item `row`, itself left out, with their scores; None when no space knows it."""
    for space in SPACES:
        table, index = getattr(vectors, space), getattr(indexes, space)
        if table is None or index is None:
            continue
        query = np.array(table[row])
        if space == "session":  # its bias says how popular an item is, not what it is like
            query[-1] = 0.0
        if not query.any():
            continue
        allowed = eligible.allowed if eligible is not None else None
        scores, rows = index.search(query[None], n + 1 + spare, allowed=allowed)
        rows, scores = np.append(rows[0], fresh_rows), np.append(scores[0], table.take(fresh_rows, axis=0) @ query)
        kept = (rows >= 0) & (rows != row)
        if eligible is not None:
            kept &= eligible.mask.take(rows, mode="clip")
        rows, scores = rows[kept], scores[kept]
        best = best_of(scores, n)
        return rows[best], scores[best]
    return None
