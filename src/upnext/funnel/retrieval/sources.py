"""Where candidates come from, one function per source; none waits, none scores against another."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.features.item_vectors import ItemVectors
from upnext.features.signals import Signals
from upnext.features.user_view import UserView
from upnext.index.interface import Allowed, VectorIndex
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_NONE: Rows = np.empty(0, np.int32)


@dataclass(frozen=True)
class Indexes:
    """The vector indexes of a release, one per space; None where the release has no such space."""

    session: VectorIndex | None = None
    user: VectorIndex | None = None
    content: VectorIndex | None = None


@dataclass(slots=True, frozen=True)
class Eligible:
    """The items that a source may return, for lists and for vector search."""

    mask: npt.NDArray[np.bool_]  # (n_items,)
    allowed: Allowed  # the same, as the indexes want it

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> "Eligible":
        """Over a mask that nobody changes any more."""
        return cls(mask, Allowed.of(mask))


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


def content(look: Lookup, n: int) -> Rows:
    """Items whose text is like that of the user's latest: the shadow model of the cold start."""
    if look.indexes.content is None or not len(look.signals.content_profile):
        return _NONE
    return _nearest(look.indexes.content, look.signals.content_profile, n, look)


def popular(look: Lookup, n: int) -> Rows:
    """What the crowd chooses these days."""
    return _first(look.crowd.trends.popular(), n, look)


def trending(look: Lookup, n: int) -> Rows:
    """What the crowd chooses this very hour."""
    return _first(look.crowd.trends.trending(), n, look)


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
