"""The names of the ranker's inputs, in their order, and the digest that ties a ranker to them."""

from hashlib import blake2b

import msgspec

# One bit of a candidate's `sources` each, in this order; append only.
SOURCES = ("user_vector", "session_vector", "covisit", "content", "popular", "trending", "fresh", "similar")
SOURCE_BIT = {source: 1 << place for place, source in enumerate(SOURCES)}
_FLAGGED = SOURCES[:6]

CROSS = (
    "session_score",  # dot product of the session vector and the item, bias included
    "user_score",  # dot product of the user vector and the item
    "content_score",  # cosine of the item's text and that of the recent items
    "last_item_score",  # cosine of the item and the newest one in the session encoder's space
    "covisit",  # log share of the item among what follows the recent items
    "covisit_last",  # … the newest item alone
    "count_fast",  # log of decayed interactions of the crowd, fast half-life
    "count_daily",
    "count_weekly",
    "trend",  # count_fast - count_weekly
    "age",  # log of hours since the item was published, or first seen
    "genre_match",  # share of the item's primary genre among the recent interactions
    *(f"from_{source}" for source in _FLAGGED),  # 1 where that source returned the item
)
N_FLAGS = len(_FLAGGED)
_MOST_GENRES = 24


class FeatureSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Names of all inputs of a ranker: per user, per item, and per pair (`cross`)."""

    user: tuple[str, ...]
    item: tuple[str, ...]
    cross: tuple[str, ...] = CROSS

    def digest(self) -> str:
        """16 hex digits; a ranker is only served by code that assembles the very same columns."""
        return blake2b(msgspec.json.encode(self), digest_size=8).hexdigest()


def feature_spec(*, user_dim: int, session_dim: int, genres: list[str]) -> FeatureSpec:
    """The inputs of a release whose encoders have these dimensions (0: no such encoder)."""
    shown = [f"genre:{genre}" for genre in genres[:_MOST_GENRES]]
    return FeatureSpec(
        user=(
            *(f"user_vector:{place}" for place in range(user_dim)),
            *(f"session_vector:{place}" for place in range(session_dim)),
            "interactions",
            *shown,
        ),
        item=(
            *(f"user_space:{place}" for place in range(user_dim)),
            *(f"session_space:{place}" for place in range(session_dim)),
            "session_bias",
            "count_weekly",
            "published",
            "price",
            "learnt",
            *shown,
        ),
    )
