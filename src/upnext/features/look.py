"""What the engineered inputs of one request's candidates have in common, each part worked out once, when asked for.

Knows who asks and for which items, not which inputs are made of it.
"""

import numpy as np
import numpy.typing as npt

from upnext.features.item_facts import NEVER_MS, ItemFacts
from upnext.features.once import Once
from upnext.features.person import Person, unpacked
from upnext.features.signals import LOOK_BACK, Signals
from upnext.features.user_view import UserView
from upnext.settings import HOUR_MS
from upnext.state.crowd import Crowd

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
LEAST_SHARE = np.float32(1e-4)  # of covisits that are told from none


class Look(Person):
    """User and candidates; all arrays (n,) by candidate unless they say more, none depends on the other candidates."""

    def __init__(
        self, facts: ItemFacts, view: UserView, signals: Signals, crowd: Crowd, rows: Rows,
        sources: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], fused: Floats | None,
    ) -> None:  # fmt: skip
        super().__init__(facts, view, signals, crowd)
        self.n = len(rows)
        self.places = rows.astype(np.intp)  # once, rather than in every lookup
        self.sources = sources
        self._fused = fused

    def lookup(self, rows: Rows, values: Floats) -> Floats:
        """The value of each candidate, 0 where it is not among `rows` (distinct)."""
        return self.facts.scratch.lookup(rows, values, self.places)

    @Once
    def zeros(self) -> Floats:
        """Not to be written to."""
        return np.zeros(self.n, np.float32)

    @Once
    def fused(self) -> Floats:
        """The score of the merge, which falls with the rank; 0 where it is not told."""
        return self.zeros if self._fused is None else self._fused

    # --- vectors: `vecdot` sums each row alone; a matrix product sums in an order that depends on the other rows

    @Once
    def session_taken(self) -> Floats | None:
        session = self.facts.vectors.session
        return None if session is None else self.facts.scratch.rows("session", session, self.places)

    @Once
    def session_inverse(self) -> Floats:
        return self.facts.inverse_session.take(self.places)

    @Once
    def session_score(self) -> Floats:
        taken, vector = self.session_taken, self.view.session_vector
        if taken is None or not len(vector):
            return self.zeros
        found: Floats = np.vecdot(taken, self.facts.vectors.session_query(vector))
        return found

    @Once
    def session_cosine(self) -> Floats:
        taken, vector = self.session_taken, self.view.session_vector
        norm = float(np.sqrt(vector @ vector))
        if taken is None or not norm > 0:
            return self.zeros
        direction = np.zeros(len(vector) + 1, np.float32)
        direction[:-1] = vector / np.float32(norm)
        found: Floats = np.vecdot(taken, direction) * self.session_inverse
        return found

    @Once
    def user_taken(self) -> Floats | None:
        user = self.facts.vectors.user
        return None if user is None else self.facts.scratch.rows("user", user, self.places)

    @Once
    def user_score(self) -> Floats:
        taken, vector = self.user_taken, self.view.user_vector
        return self.zeros if taken is None or not len(vector) else np.vecdot(taken, vector)

    @Once
    def user_cosine(self) -> Floats:
        vector = self.view.user_vector
        norm = float(np.sqrt(vector @ vector))
        if not norm > 0:
            return self.zeros
        return self.user_score * self.facts.inverse_user.take(self.places) * np.float32(1.0 / norm)

    @Once
    def content_taken(self) -> Floats | None:
        content = self.facts.vectors.content
        return None if content is None else self.facts.scratch.rows("content", content, self.places)

    @Once
    def content_score(self) -> Floats:
        taken, profile = self.content_taken, self.signals.content_profile
        return self.zeros if taken is None or not len(profile) else np.vecdot(taken, profile)

    @Once
    def last_item_score(self) -> Floats:
        taken, table = self.session_taken, self.facts.vectors.session
        if taken is None or table is None or not len(self.last5):
            return self.zeros
        last = self.last5[0]
        direction = table[last] * self.facts.inverse_session[last]
        direction[-1] = 0.0  # no bias
        found: Floats = np.vecdot(taken, direction) * self.session_inverse
        return found

    @Once
    def near_session(self) -> Floats:
        """(5, n) cosines to the newest five items, newest first; rows of zeros for those that are not there."""
        taken, table = self.session_taken, self.facts.vectors.session
        near = np.zeros((LOOK_BACK, self.n), np.float32)
        if taken is None or table is None or not len(self.last5):
            return near
        near[0] = self.last_item_score
        rest = self.last5[1:]
        directions = table[rest] * self.facts.inverse_session[rest, None]
        directions[:, -1] = 0.0
        near[1 : len(self.last5)] = _dots(taken, directions) * self.session_inverse
        return near

    @Once
    def near_user(self) -> Floats:
        taken, table = self.user_taken, self.facts.vectors.user
        near = np.zeros((LOOK_BACK, self.n), np.float32)
        if taken is not None and table is not None and len(self.last5):
            directions = table[self.last5] * self.facts.inverse_user[self.last5, None]
            near[: len(self.last5)] = _dots(taken, directions) * self.facts.inverse_user.take(self.places)
        return near

    @Once
    def near_content(self) -> Floats:
        taken, table = self.content_taken, self.facts.vectors.content
        near = np.zeros((LOOK_BACK, self.n), np.float32)
        if taken is not None and table is not None and len(self.last5):
            near[: len(self.last5)] = _dots(taken, table[self.last5])
        return near

    # --- what follows what

    @Once
    def covisit_shares(self) -> Floats:
        return self.lookup(self.signals.covisit_rows, self.signals.covisit_scores)

    @Once
    def covisit_last_shares(self) -> Floats:
        return self.lookup(self.signals.covisit_last_rows, self.signals.covisit_last_scores)

    @Once
    def covisit_each(self) -> Floats:
        """(5, n) the share of the item among what follows each of the newest five, newest first."""
        each = np.zeros((LOOK_BACK, self.n), np.float32)
        for place, row in enumerate(self.last5.tolist()):
            each[place] = self.covisit_last_shares if not place else self.lookup(*self.crowd.covisits.after_one(row))
        return each

    @Once
    def knn_scores(self) -> Floats:
        """How much of the newest sessions with the latest items held the item."""
        return self.lookup(self.signals.knn_rows, self.signals.knn_scores)

    @Once
    def neighbour_scores(self) -> Floats:
        """How much the user's items are neighbours of the item, by learnt lists."""
        return self.lookup(self.signals.neighbour_rows, self.signals.neighbour_scores)

    # --- the crowd, and time

    @Once
    def counts(self) -> Floats:
        """(n, 3) decayed numbers of interactions: fast, daily, weekly."""
        return self.crowd.trends.counts(self.places)

    @Once
    def log_counts(self) -> Floats:
        """(n, 3) their log1p."""
        return np.log1p(self.counts)

    @Once
    def context_shares(self) -> Floats:
        """(1 + n_names, n) its share of what the crowd chooses, and of that under the same value of each name."""
        return self.crowd.contexts.shares(self.signals.context, self.places)

    @Once
    def context_share(self) -> Floats:
        """The mean of the latter over the names of which something is known; zeros where that is none."""
        n_known = sum(map(bool, self.signals.context))
        found: Floats = self.context_shares[1:].sum(axis=0) / np.float32(max(n_known, 1))
        return found

    @Once
    def popular_rank(self) -> Floats:
        """1 / (1 + rank) among the most popular, 0 for others."""
        return self._reciprocal_ranks(self.crowd.trends.popular())

    @Once
    def trending_rank(self) -> Floats:
        return self._reciprocal_ranks(self.crowd.trends.trending())

    def _reciprocal_ranks(self, rows: Rows) -> Floats:
        return self.lookup(rows, (1.0 / np.arange(1, len(rows) + 1)).astype(np.float32))

    @Once
    def since_ms(self) -> npt.NDArray[np.int64]:
        """When the item was published or first seen, NEVER_MS where neither is known."""
        return np.minimum(self.facts.published_ms.take(self.places), self.crowd.trends.first_seen_ms.take(self.places))

    @Once
    def age_hours(self) -> npt.NDArray[np.float64]:
        """Since then, 0 where it is not known."""
        return np.maximum(self.now_ms - self.since_ms, 0) * (1.0 / HOUR_MS)

    def freshness(self, half_hours: float) -> Floats:
        """1 for an item of this moment, half as much each `half_hours`; 0 where its age is not known."""
        fresh = np.exp2(self.age_hours * (-1.0 / half_hours))
        return np.where(self.since_ms == NEVER_MS, 0.0, fresh).astype(np.float32)

    @Once
    def fresh_week(self) -> Floats:
        return self.freshness(7 * 24)

    # --- genres and prices

    @Once
    def genre(self) -> npt.NDArray[np.int16]:
        return self.facts.catalog.genre.take(self.places)

    @Once
    def genre_match(self) -> Floats:
        return self.signals.genre_profile.take(self.genre, mode="wrap")

    @Once
    def bits(self) -> npt.NDArray[np.uint64]:
        return self.facts.catalog.genre_bits.take(self.places)

    @Once
    def hot(self) -> Floats:
        """(n, 64) 1 for each genre that the item has."""
        hot = self.facts.scratch.room("hot", self.n, 64)
        hot[:] = unpacked(self.bits)
        return hot

    @Once
    def n_genres(self) -> Floats:
        return np.bitwise_count(self.bits).astype(np.float32)

    @Once
    def price(self) -> Floats:
        """Log price, NaN where not known."""
        return self.facts.log_price.take(self.places)


def log_share(shares: Floats) -> Floats:
    """The log of `shares`, of which the smallest count as none."""
    found: Floats = np.log(shares + LEAST_SHARE)
    return found


def _dots(taken: Floats, directions: Floats) -> Floats:
    """(m, n) inner products of each of `taken` (n, dim) with each of `directions` (m, dim), one by one."""
    found: Floats = np.vecdot(taken[None], directions[:, None, :])
    return found
