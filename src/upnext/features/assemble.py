"""Raw facts to the ranker's input arrays: the only place where they are joined, for training and serving alike.

No value is NaN; what is not known is 0.
"""

import math

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import UNKNOWN_MS, Catalog
from upnext.features.item_vectors import ItemVectors
from upnext.features.scratch import Scratch
from upnext.features.signals import Signals
from upnext.features.spec import CROSS, N_FLAGS, FeatureSpec, feature_spec
from upnext.features.user_view import UserView
from upnext.settings import DAY_MS, HOUR_MS
from upnext.state.crowd import Crowd
from upnext.state.trends import ItemTrends

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
_COLUMN = {name: place for place, name in enumerate(CROSS)}
_LEAST_SHARE = np.float32(1e-4)  # of covisits that are told from none
_FLAGGED: Floats = np.zeros((256, len(CROSS)), np.float32)  # for each value of `sources`, a row with its flags alone
_FLAGGED[:, -N_FLAGS:] = (np.arange(256)[:, None] >> np.arange(N_FLAGS)) & 1
_NEVER_MS = np.iinfo(np.int64).max
_YEAR_2000_MS = 946_684_800_000


class Assembler:
    """Assembles the inputs of one release's ranker."""

    def __init__(self, catalog: Catalog, vectors: ItemVectors) -> None:
        self._catalog = catalog
        self._vectors = vectors
        self._session_dim = vectors.session.shape[1] - 1 if vectors.session is not None else 0
        self._user_dim = vectors.user.shape[1] if vectors.user is not None else 0
        self._scratch = Scratch(catalog.n_items)
        self.spec: FeatureSpec = feature_spec(
            user_dim=self._user_dim, session_dim=self._session_dim, genres=catalog.genres
        )
        self._n_genres = sum(name.startswith("genre:") for name in self.spec.user)
        self._published_ms = _or_never(catalog.published_ms)
        self._inverse_norms = _inverse_norms(vectors.session, catalog.n_items)

    def items_changed(self, rows: Rows) -> None:
        """Takes over what catalogue and vectors say of `rows` now."""
        self._published_ms[rows] = _or_never(self._catalog.published_ms[rows])
        if self._vectors.session is not None:
            self._inverse_norms[rows] = _inverse_norms(self._vectors.session[rows], len(rows))

    def user(self, view: UserView, signals: Signals) -> Floats:
        """(n_user_features,) float32 of one request."""
        features = np.zeros(len(self.spec.user), np.float32)
        at = self._user_dim
        if len(view.user_vector):
            features[:at] = view.user_vector
        if len(view.session_vector):
            features[at : at + self._session_dim] = view.session_vector
        at += self._session_dim
        features[at] = math.log1p(view.n_interactions)
        features[at + 1 :] = signals.genre_profile[: self._n_genres]
        return features

    def cross(
        self, view: UserView, signals: Signals, rows: Rows, sources: npt.NDArray[np.uint8], crowd: Crowd
    ) -> Floats:
        """(n_candidates, n_cross_features) float32, each row independent of the other candidates.

        `sources` (n_candidates,) uint8 has a bit for every source that returned the candidate.
        """
        features = _FLAGGED.take(sources, axis=0)
        places = rows.astype(np.intp)  # once, rather than in every lookup
        self._vector_scores(features, view, signals, places)
        lookup = self._scratch.lookup
        shares = np.empty((2, len(rows)), np.float32)
        shares[0] = lookup(signals.covisit_rows, signals.covisit_scores, places)
        shares[1] = lookup(signals.covisit_last_rows, signals.covisit_last_scores, places)
        features[:, _COLUMN["covisit"] : _COLUMN["covisit_last"] + 1] = np.log(shares + _LEAST_SHARE).T
        self._crowd_columns(features, places, crowd.trends)
        features[:, _COLUMN["genre_match"]] = signals.genre_profile.take(self._catalog.genre.take(places), mode="wrap")
        return features

    def _vector_scores(self, features: Floats, view: UserView, signals: Signals, places: Places) -> None:
        # `vecdot` sums each row alone; a matrix product sums in an order that depends on the other rows.
        vectors = self._vectors
        if vectors.session is not None and len(view.session_vector):
            taken = vectors.session.take(places, axis=0)
            features[:, _COLUMN["session_score"]] = np.vecdot(taken, vectors.session_query(view.session_vector))
            if len(signals.recent_rows):
                last = signals.recent_rows[0]
                direction = vectors.session[last] * self._inverse_norms[last]
                direction[-1] = 0.0  # no bias
                cosine = np.vecdot(taken, direction)
                features[:, _COLUMN["last_item_score"]] = cosine * self._inverse_norms.take(places)
        if vectors.user is not None and len(view.user_vector):
            features[:, _COLUMN["user_score"]] = np.vecdot(vectors.user.take(places, axis=0), view.user_vector)
        if vectors.content is not None and len(signals.content_profile):
            taken = vectors.content.take(places, axis=0)
            features[:, _COLUMN["content_score"]] = np.vecdot(taken, signals.content_profile)

    def _crowd_columns(self, features: Floats, places: Places, trends: ItemTrends) -> None:
        at = _COLUMN["count_fast"]
        counts = np.log1p(trends.counts(places))
        features[:, at : at + 3] = counts
        features[:, at + 3] = counts[:, 0] - counts[:, 2]
        since_ms = np.minimum(self._published_ms.take(places), trends.first_seen_ms.take(places))
        age_ms = np.maximum(trends.latest_ms - since_ms, 0)
        features[:, at + 4] = np.log1p(age_ms * (1.0 / HOUR_MS))

    def items(self, trends: ItemTrends, rows: Rows | None = None) -> Floats:
        """(n_rows, n_item_features) float32: the item side of `rows`, or of all items, as of this moment."""
        catalog, vectors = self._catalog, self._vectors
        chosen = slice(None) if rows is None else rows  # all without copying what may be large
        rows = np.arange(catalog.n_items, dtype=np.int32) if rows is None else rows
        features = np.zeros((len(rows), len(self.spec.item)), np.float32)
        at = self._user_dim
        if vectors.user is not None:
            features[:, :at] = vectors.user[chosen]
        if vectors.session is not None:
            features[:, at : at + self._session_dim + 1] = vectors.session[chosen]
        at += self._session_dim + 1
        features[:, at] = np.log1p(trends.counts(rows)[:, 2])
        published_ms = catalog.published_ms[chosen]
        known = published_ms != UNKNOWN_MS
        features[known, at + 1] = (published_ms[known] - _YEAR_2000_MS) / (3_652.5 * DAY_MS)
        features[:, at + 2] = np.nan_to_num(np.log1p(np.maximum(catalog.price[chosen], 0)), nan=0.0)
        features[:, at + 3] = self._inverse_norms[chosen] > 0
        bits = np.arange(self._n_genres, dtype=np.uint64)
        features[:, at + 4 :] = (catalog.genre_bits[chosen, None] >> bits) & np.uint64(1)
        return features


def _or_never(published_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.where(published_ms == UNKNOWN_MS, _NEVER_MS, published_ms)


def _inverse_norms(session: Floats | None, n_items: int) -> Floats:
    """1 / length of each item's vector, 0 for items that were not learnt; (n_items,) float32."""
    if session is None:
        return np.zeros(n_items, np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", session[:, :-1], session[:, :-1]))
    inverse: Floats = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0).astype(np.float32)
    return inverse
