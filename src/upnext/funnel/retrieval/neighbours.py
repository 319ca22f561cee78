"""Items like the items of a user, from lists that training made; knows no model that they come from."""

import numpy as np
import numpy.typing as npt

from upnext.state.covisits import RowSums, heaviest_first

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_LOOK_BACK = 20  # newest distinct items whose neighbours are added up
_FADE = 0.9  # weight of each next older one
_NO_ENTRY: Rows = np.zeros(1, np.int32)
_WEIGHTS: Floats = (_FADE ** np.arange(_LOOK_BACK)).astype(np.float32)


class Neighbours:
    """Item-to-item lists, as ItemKNN, SLIM and EASE leave them when only the heaviest of a row are kept."""

    def __init__(self, rows: Rows, weights: Floats, n_items: int) -> None:
        """`rows` and `weights` (n_released, width): each item's neighbours, -1 for none; weights below 0 count as 0.

        `n_items`: also those that have no list, as items posted later.
        """
        self.rows = rows
        self.weights = weights
        self._sums = RowSums(n_items)

    def of(self, recent_rows: Rows) -> tuple[Rows, Floats]:
        """What `recent_rows` (n,), oldest first, are neighbours of together: distinct rows, scores, heaviest first.

        Ties go to the lower row; empty where nothing is known. Items of `recent_rows` may be among them.
        """
        newest = list(dict.fromkeys(recent_rows[: -2 * _LOOK_BACK - 1 : -1].tolist()))[:_LOOK_BACK]
        asked = np.array(newest, np.intp)
        weights = _WEIGHTS[: len(asked)]
        listed = asked < len(self.rows)
        if not listed.all():
            asked, weights = asked[listed], weights[listed]
        if not len(asked):
            return np.empty(0, np.int32), np.empty(0, np.float32)
        entries = (self.rows.take(asked, axis=0) + np.int32(1)).ravel()
        shares = np.maximum(self.weights.take(asked, axis=0), np.float32(0)) * weights[:, None]
        return heaviest_first(*self._sums.distinct(entries, shares.ravel(), _NO_ENTRY))
