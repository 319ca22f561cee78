"""Where candidates come from, one function per source; none waits, none scores against another."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.features.item_vectors import ItemVectors
from upnext.features.neighbours import Neighbours
from upnext.features.signals import Signals
from upnext.features.user_view import UserView
from upnext.index.interface import Allowed, VectorIndex
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_NONE: Rows = np.empty(0, np.int32)
_FILTERED = 2_000  # rows put in order where a filter may leave few of the first


@dataclass(frozen=True)
class Indexes:
    """The vector indexes of a release, one per space, and its lists of neighbours; None where it has none."""

    session: VectorIndex | None = None
    user: VectorIndex | None = None
    content: VectorIndex | None = None
    neighbours: Neighbours | None = None


@dataclass(slots=True, frozen=True)
class Eligible:
    """The items that a source may return, for lists and for vector search."""

    mask: npt.NDArray[np.bool_]  # (n_items,)
    # The same, as the indexes want it; None: nearly all, and so many more are fetched as may be dropped afterwards.
    allowed: Allowed | None

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_], n_indexed: int) -> "Eligible":
        """Over a mask whose first `n_indexed` items are those of the indexes."""
        return cls(mask, Allowed.of(mask[:n_indexed]))


@dataclass(slots=True)
class Lookup:
    """Everything a source may look at for one request."""

    view: UserView
    signals: Signals
    crowd: Crowd
    vectors: ItemVectors
    indexes: Indexes
    eligible: Eligible | None  # None: every item
    spare: int  # fetched beyond what is asked for, since so many may be dropped afterwards
    fresh_rows: Rows  # rising: items that are in no index, the newest last


def user_vector(look: Lookup, n: int) -> Rows:
    """Nearest items to the user vector in the two-tower space."""
    if look.indexes.user is None or not len(look.view.user_vector):
        return _NONE
    return _nearest(look.indexes.user, look.view.user_vector, n, look)


def session_vector(look: Lookup, n: int) -> Rows:
    """Items that the session encoder expects next."""
    if look.indexes.session is None or not len(look.view.session_vector):
        return _NONE
    return _nearest(look.indexes.session, look.vectors.session_query(look.view.session_vector), n, look)


def covisit(look: Lookup, n: int) -> Rows:
    """What others chose next after the user's latest items."""
    return _first(look.signals.covisit_rows, n, look)


def session_knn(look: Lookup, n: int) -> Rows:
    """What the newest sessions with the user's latest items held besides."""
    return _first(look.signals.knn_rows, n, look)


def neighbours(look: Lookup, n: int) -> Rows:
    """Items like the user's latest, by the lists of a linear model."""
    return _first(look.signals.neighbour_rows, n, look)


def content(look: Lookup, n: int) -> Rows:
    """Items whose text is like that of the user's latest: the shadow model of the cold start."""
    if look.indexes.content is None or not len(look.signals.content_profile):
        return _NONE
    return _nearest(look.indexes.content, look.signals.content_profile, n, look)


def context(look: Lookup, n: int) -> Rows:
    """What the crowd chooses these hours under the same circumstances: device, region, referrer."""
    most = n + look.spare if look.eligible is None else _FILTERED
    return _first(look.crowd.contexts.top(look.signals.context, most), n, look)


def popular(look: Lookup, n: int) -> Rows:
    """What the crowd chooses these days."""
    return _first(look.crowd.trends.popular(), n, look)


def trending(look: Lookup, n: int) -> Rows:
    """What the crowd chooses this very hour."""
    return _first(look.crowd.trends.trending(), n, look)


def fresh(look: Lookup, n: int) -> Rows:
    """Items posted lately, in no index yet: all are looked at.

    The best for the session vector, else the user vector, else by text; for a user without any of them the newest.
    """
    rows = look.fresh_rows[::-1]
    if look.eligible is not None:
        rows = rows[look.eligible.mask.take(rows)]
    asked = _question(look) if len(rows) else None
    if asked is None:
        return rows[: n + look.spare]
    first, last = int(look.fresh_rows[0]), int(look.fresh_rows[-1])
    scores = asked[0][first : last + 1] @ asked[1]  # of a few rows too many, but without copying them
    return rows.take(best_of(scores.take(rows - first), n + look.spare))


def _question(look: Lookup) -> tuple[Floats, Floats] | None:
    """The table and the vector to look for items with, the best there is of this user."""
    vectors, view = look.vectors, look.view
    if vectors.session is not None and len(view.session_vector):
        return vectors.session, vectors.session_query(view.session_vector)
    if vectors.user is not None and len(view.user_vector):
        return vectors.user, view.user_vector
    if vectors.content is not None and len(look.signals.content_profile):
        return vectors.content, look.signals.content_profile
    return None


def best_of(scores: Floats, n: int) -> npt.NDArray[np.intp]:
    """(≤ n,) places of the highest `scores`, best first, ties by place."""
    if n >= len(scores) // 4:
        return np.argsort(-scores, kind="stable")[:n]
    high = np.flatnonzero(scores >= np.partition(scores, -n)[-n])
    best: npt.NDArray[np.intp] = high[np.argsort(-scores[high], kind="stable")[:n]]
    return best


def _first(rows: Rows, n: int, look: Lookup) -> Rows:
    """Filtered before the cut, as vector search does it: a narrow filter still finds its items further down."""
    if look.eligible is not None:
        rows = rows[look.eligible.mask.take(rows)]
    return rows[: n + look.spare]


def _nearest(index: VectorIndex, query: Floats, n: int, look: Lookup) -> Rows:
    allowed = look.eligible.allowed if look.eligible is not None else None
    _, rows = index.search(query[None], n + look.spare, allowed=allowed)
    found: Rows = rows[0]
    return found[found >= 0] if len(found) and found[-1] < 0 else found
