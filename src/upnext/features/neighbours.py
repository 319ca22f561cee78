"""Items like the items of a user, from lists that training made; knows no model that they come from."""

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.state.covisits import RowSums, heaviest_first

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
LOOK_PART = "neighbours.look"  # in a release that has learnt how to look back
_MOST_WHOLE = 256  # items of a whole history that are looked at, the newest and then any
_NO_ROWS: Rows = np.empty(0, np.int32)
_NO_ENTRY: Rows = np.zeros(1, np.int32)


class LookBack(msgspec.Struct, frozen=True, kw_only=True):
    """Which items of a user are asked for their neighbours."""

    items: int = 20  # newest distinct ones
    fade: float = 0.9  # weight of each next older one
    whole: bool = False  # all that the user has chosen, too, with the weight of the oldest of those


class Neighbours:
    """Item-to-item lists, as ItemKNN, SLIM and EASE leave them when only the heaviest of a row are kept."""

    def __init__(self, rows: Rows, weights: Floats, n_items: int, look: LookBack | None = None) -> None:
        """`rows` and `weights` (n_released, width): each item's neighbours, -1 for none; weights below 0 count as 0.

        `n_items`: also those that have no list, as items posted later.
        """
        self.rows = rows
        self.weights = weights
        self.look = look or LookBack()
        self._fades = (self.look.fade ** np.arange(self.look.items)).astype(np.float32)
        self._sums = RowSums(n_items)

    def of(self, recent_rows: Rows, seen_rows: Rows = _NO_ROWS) -> tuple[Rows, Floats]:
        """What a user's items are neighbours of together: distinct rows, scores, heaviest first.

        `recent_rows` (n,) are the newest, oldest first; `seen_rows` all of them in any order. Ties go to the lower row;
        empty where nothing is known. The user's own items may be among them.
        """
        asked, weights = self._asked(recent_rows, seen_rows)
        listed = asked < len(self.rows)
        if not listed.all():
            asked, weights = asked[listed], weights[listed]
        if not len(asked):
            return _NO_ROWS, np.empty(0, np.float32)
        entries = (self.rows.take(asked, axis=0) + np.int32(1)).ravel()
        shares = np.maximum(self.weights.take(asked, axis=0), np.float32(0)) * weights[:, None]
        return heaviest_first(*self._sums.distinct(entries, shares.ravel(), _NO_ENTRY))

    def _asked(self, recent_rows: Rows, seen_rows: Rows) -> tuple[npt.NDArray[np.intp], Floats]:
        look = self.look
        newest = list(dict.fromkeys(recent_rows[: -2 * look.items - 1 : -1].tolist()))[: look.items]
        weights = self._fades[: len(newest)]
        if look.whole and len(seen_rows) > len(newest):
            others = seen_rows[~np.isin(seen_rows, newest)][: _MOST_WHOLE - len(newest)]
            newest += others.tolist()
            weights = np.append(weights, np.full(len(others), self._fades[-1], np.float32))
        return np.array(newest, np.intp), weights
