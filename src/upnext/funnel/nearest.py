"""What a user's state comes to in items: those chosen last, and those nearest to each vector; ranks nothing."""

import numpy as np
import numpy.typing as npt

from upnext.features.signals import signals_of
from upnext.features.user_view import UserView
from upnext.funnel.explained import NamedItem, Nearest, named
from upnext.funnel.funnel import Funnel
from upnext.index.interface import VectorIndex

_LATEST = 20


def recent_items(funnel: Funnel, view: UserView) -> list[NamedItem]:
    """The user's latest items, newest first."""
    return named(view.recent_rows[: -_LATEST - 1 : -1].tolist(), funnel.catalog)


def nearest_items(funnel: Funnel, view: UserView, n: int) -> list[Nearest]:
    """The `n` items nearest to each vector that the user has, whether they may leave or not."""
    vectors, indexes = funnel.vectors, funnel.indexes
    profile = signals_of(view, funnel.catalog, vectors, funnel.crowd).content_profile
    session = vectors.session_query(view.session_vector) if len(view.session_vector) else view.session_vector
    asked = (
        ("session", indexes.session, session, view.session_vector),
        ("user", indexes.user, view.user_vector, view.user_vector),
        ("content", indexes.content, profile, profile),
    )
    return [
        Nearest(vector=name, length=round(float(np.linalg.norm(vector)), 4), items=_near(funnel, index, query, n))
        for name, index, query, vector in asked
        if index is not None and len(vector)
    ]


def _near(funnel: Funnel, index: VectorIndex, query: npt.NDArray[np.float32], n: int) -> list[NamedItem]:
    scores, rows = index.search(query[None], n)
    there = rows[0] >= 0
    return named(rows[0][there].tolist(), funnel.catalog, scores[0][there].tolist())
