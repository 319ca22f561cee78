"""The learnt vectors of a release's items, by row; knows not who learnt them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ItemVectors:
    """Vectors by item row. A space that a release does not have is None.

    session (n_items, dim + 1): the session encoder's output table, its bias last; a session vector gets a 1 appended.
    user (n_items, dim): the item tower's output. content (n_items, dim): unit vectors of the items' text, zero where
    an item has none. A row of an item that no encoder has learnt is zero.
    """

    session: Floats | None = None
    user: Floats | None = None
    content: Floats | None = None

    def session_query(self, session_vector: Floats) -> Floats:
        """(dim + 1,): what to multiply the session table with."""
        query = np.empty(len(session_vector) + 1, np.float32)
        query[:-1] = session_vector
        query[-1] = 1.0
        return query
