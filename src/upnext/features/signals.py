"""What a request knows of its user beyond stored vectors, worked out once for both retrieval and ranking."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.features.item_vectors import ItemVectors
from upnext.features.neighbours import Neighbours
from upnext.features.user_view import UserView
from upnext.state.context_trends import NOTHING, Context
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
LOOK_BACK = 5  # newest interactions that covisits and profiles start from
_KNN_ITEMS = 3  # newest ones that sessions are looked for with
_FADE = 0.6  # weight of each next older one
_BEFORE_SESSION = np.float32(0.03)  # and of those chosen before the latest session: to fill up, not to lead
_NONE: Rows = np.empty(0, np.int32)
_NO_SCORES: Floats = np.empty(0, np.float32)
_PLACES = np.arange(LOOK_BACK)
_WEIGHTS: Floats = (_FADE**_PLACES).astype(np.float32)


@dataclass(slots=True)
class Signals:
    """Absence is empty arrays: no recent item, no covisit known, no text."""

    recent_rows: Rows  # newest first, distinct, at most 5
    covisit_rows: Rows  # what tends to follow them, best first
    covisit_scores: Floats
    covisit_last_rows: Rows  # what tends to follow the newest alone, in no particular order
    covisit_last_scores: Floats
    genre_profile: Floats  # (n_genres + 1,) share of each primary genre in recent interactions; the last stays 0
    content_profile: Floats  # (dim,) unit vector of the recent items' text, or empty
    knn_rows: Rows = field(default_factory=lambda: np.empty(0, np.int32))  # of sessions like this one, heaviest first
    knn_scores: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    neighbour_rows: Rows = field(default_factory=lambda: np.empty(0, np.int32))  # by learnt lists, heaviest first
    neighbour_scores: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    context: Context = NOTHING  # of the request, or of the user's last event


def signals_of(
    view: UserView, catalog: Catalog, vectors: ItemVectors, crowd: Crowd, context: Context = NOTHING,
    neighbours: Neighbours | None = None,
) -> Signals:  # fmt: skip
    """The signals of one user at this moment, under these circumstances; `neighbours`: learnt lists of items."""
    covisits, sessions = crowd.covisits, crowd.sessions
    recent = looked_at(view)
    n_now = _n_of_session(view, recent)
    knn = listed = _NONE, _NO_SCORES
    if neighbours is not None and len(recent):
        listed = neighbours.of(view.recent_rows, view.seen_rows)
    weights = _WEIGHTS[: len(recent)]
    rows, scores = covisits.after(recent, np.where(_PLACES[: len(recent)] < n_now, weights, weights * _BEFORE_SESSION))
    last_rows, last_scores = (rows, scores) if len(recent) < 2 else covisits.after_one(int(recent[0]))
    if sessions is not None and len(recent):
        n_knn = min(n_now, _KNN_ITEMS)
        knn = sessions.like(recent[:n_knn], weights[:n_knn])
    return Signals(
        recent, rows, scores, last_rows, last_scores,
        genre_shares(view.recent_rows, catalog),
        _content_profile(recent, weights, vectors.content),
        *knn,
        *listed,
        context,
    )  # fmt: skip


def looked_at(view: UserView) -> Rows:
    """(≤ 5,) the rows of a user's newest distinct items, whose vectors signals are made of."""
    return _newest_distinct(view.recent_rows, LOOK_BACK)


def _n_of_session(view: UserView, recent: Rows) -> int:
    """How many of `recent` (n,), newest first, were chosen in the latest session: at least one where there are any."""
    if not view.n_before_session:
        return len(recent)
    return min(len(set(view.recent_rows[view.n_before_session :].tolist())), len(recent)) or min(1, len(recent))


def _newest_distinct(rows: Rows, most: int) -> Rows:
    newest = list(dict.fromkeys(rows[: -4 * most - 1 : -1].tolist()))
    return np.array(newest[:most], np.int32)


def genre_shares(rows: Rows, catalog: Catalog, weights: npt.NDArray[np.float64] | None = None) -> Floats:
    """(n_genres + 1,) the share of each primary genre in items `rows`, weighted where asked; the last stays 0."""
    genres = catalog.genre.take(rows)
    shares = np.zeros(len(catalog.genres) + 1, np.float32)  # after the look at the items: genres may be added meanwhile
    if len(rows):
        counts = np.bincount(genres + 1, weights, minlength=len(shares))  # the first: of no genre
        total = len(rows) if weights is None else weights.sum()
        np.divide(counts[1:], total, out=shares[:-1], casting="same_kind")
    return shares


def _content_profile(recent: Rows, weights: Floats, content: Floats | None) -> Floats:
    if content is None or not len(recent):
        return np.empty(0, np.float32)
    profile = weights @ content[recent]
    norm = float(np.sqrt(profile @ profile))
    return profile / np.float32(norm) if norm > 0 else np.empty(0, np.float32)
