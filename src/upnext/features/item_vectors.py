"""The learnt vectors of a release's items, by row; knows not who learnt them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


UNLEARNT_PART = "unlearnt.rows"  # in a release that has such items


@dataclass(frozen=True)
class Unlearnt:
    """Items that got vectors after the ranker had learnt; its item side has them as it knew their like: without.

    A ranker learns from lists in which the newest items have no vector yet, so a vector tells it of age, too. rows (k,)
    int32, ascending; user (k, dim) float32: what the item tower says of them by what is known of them, zero for
    nothing; session (dim + 1,) float32: what an item has in that space that was never met.
    """

    rows: npt.NDArray[np.int32]
    user: Floats
    session: Floats

    def save(self, add_array: Callable[[str, npt.NDArray[Any]], object]) -> None:
        """Hands each part to the writer of a release."""
        add_array(UNLEARNT_PART, self.rows)
        add_array("unlearnt.user", self.user)
        add_array("unlearnt.session", self.session)

    @classmethod
    def open(cls, array: Callable[[str], npt.NDArray[Any]]) -> "Unlearnt":
        """What `save` handed out."""
        return cls(array(UNLEARNT_PART), array("unlearnt.user"), array("unlearnt.session"))

    def find(self, rows: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Which places of `rows` (n,) are such items, and their places here."""
        at = np.searchsorted(self.rows, rows).clip(max=max(0, len(self.rows) - 1))
        found = np.flatnonzero(self.rows[at] == rows) if len(self.rows) else np.empty(0, np.intp)
        return found, at[found]


@dataclass(frozen=True)
class ItemVectors:
    """Vectors by item row. A space that a release does not have is None.

    session (n_items, dim + 1): the session encoder's output table, its bias last; a session vector gets a 1 appended.
    user (n_items, dim): the item tower's output. content (n_items, dim): unit vectors of the items' text, zero where
    an item has none. A row of an item that no encoder has learnt is zero. `unlearnt`: see there; None for none.
    """

    session: Floats | None = None
    user: Floats | None = None
    content: Floats | None = None
    unlearnt: Unlearnt | None = None

    def session_query(self, session_vector: Floats) -> Floats:
        """(dim + 1,): what to multiply the session table with."""
        query = np.empty(len(session_vector) + 1, np.float32)
        query[:-1] = session_vector
        query[-1] = 1.0
        return query
