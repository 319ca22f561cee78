"""An index for more rows than it was built for; measures nothing, see `autotune.extend` for that."""

import numpy as np

from upnext.errors import DataError
from upnext.index.faiss_index import FaissIndex
from upnext.index.interface import Floats, VectorIndex
from upnext.index.opening import KINDS


def grown(index: VectorIndex, vectors: Floats, *, anew: bool) -> VectorIndex:
    """An index of the same kind and search effort over `vectors` (n, dim), whose first rows are those of `index`.

    The further rows are added to a copy; built `anew` where that is asked for, or where `index` cannot take any (it was
    saved by an older version). `index` stays as it is. Raises `DataError` for vectors that cannot be indexed.
    """
    if not anew:
        try:
            return _searched_as(index, index.added(np.asarray(vectors[index.n_items :], np.float32)))
        except DataError:
            pass  # if the vectors are to blame, so says the build
    return _searched_as(index, KINDS[index.kind].build(np.asarray(vectors, np.float32)))


def _searched_as(before: VectorIndex, index: VectorIndex) -> VectorIndex:
    assert isinstance(index, FaissIndex)
    effort = effort_of(before)
    if isinstance(before, FaissIndex) and before.n_items < index.n_items and "nlist" in before.parameters:
        # As large a part of the lists as before, where a build has made more of them.
        effort = round(effort * index.parameters["nlist"] / before.parameters["nlist"])
    index.set_effort(effort)
    return index


def effort_of(index: VectorIndex) -> int:
    """The search parameter that `FaissIndex.set_effort` takes; 0 for a kind without."""
    return index.parameters.get("nprobe", index.parameters.get("ef", 0))
