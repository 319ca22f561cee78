"""Vectors for items that no model has met: from their text, and borrowed from released items that read alike."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from upnext.domain.event import Item
from upnext.features.content_text import ContentText, embed_text, words_of
from upnext.features.item_vectors import ItemVectors
from upnext.funnel.retrieval.sources import Indexes

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_LOOK_AT = 4  # neighbours looked at for each that lends a vector, since some have none


class FreshVectors:
    """A new item's place in every space of one release."""

    def __init__(
        self, text: ContentText | None, vectors: ItemVectors, indexes: Indexes, n_released: int, neighbours: int
    ) -> None:
        """Without `text` or content vectors nothing is known of a new item."""
        self._text = text
        self._vectors = vectors
        self._indexes = indexes
        self._neighbours = neighbours
        self._n_released = n_released
        # As of a released item that was never met: scored like the least liked one.
        self._least_bias = float(vectors.session[:n_released, -1].min()) if vectors.session is not None else 0.0

    def of(self, items: Sequence[Item]) -> ItemVectors:
        """Vectors of `items`, (n, …) each; None for a space that the release does not have.

        Session and user vectors are means of those of the nearest items by content, weighted by how like they are:
        the k-nearest-neighbours mapping of Gantner, Drumond, Freudenthaler, Rendle and Schmidt-Thieme, "Learning
        Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010. Zero, with the least bias, where no
        item is like it.
        """
        own, n = self._vectors, len(items)
        made = ItemVectors(_zeros(n, own.session), _zeros(n, own.user), _zeros(n, own.content))
        if made.session is not None:
            made.session[:, -1] = self._least_bias
        if self._text is None or made.content is None or self._indexes.content is None:
            return made
        for at, item in enumerate(items):
            made.content[at] = embed_text(self._text, words_of(item.title, item.genres, item.text))
        likeness, rows = self._indexes.content.search(made.content, min(_LOOK_AT * self._neighbours, self._n_released))
        for at in np.flatnonzero(made.content.any(axis=1)).tolist():
            like = (rows[at] >= 0) & (likeness[at] > 0)
            near, weights = rows[at][like], likeness[at][like]
            if made.session is not None and own.session is not None:
                self._borrow(made.session[at], own.session.take(near, axis=0), weights, bias=True)
            if made.user is not None and own.user is not None:
                self._borrow(made.user[at], own.user.take(near, axis=0), weights, bias=False)
        return made

    def _borrow(self, vector: Floats, lent: Floats, weights: Floats, *, bias: bool) -> None:
        """Makes `vector` the mean of the nearest of `lent` (nearest first) that have a direction, if there are any."""
        lenders = np.flatnonzero((lent[:, :-1] if bias else lent).any(axis=1))[: self._neighbours]
        if len(lenders):
            vector[:] = (weights[lenders] / weights[lenders].sum()) @ lent[lenders]


def _zeros(n: int, table: Floats | None) -> Floats | None:
    return None if table is None else np.zeros((n, table.shape[1]), np.float32)
