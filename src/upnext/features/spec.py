"""The names of the ranker's inputs, in their order, and the digest that ties a ranker to them."""

from hashlib import blake2b

import msgspec

from upnext.features.columns import age, core, crowd, following, genre, item, mixed, price, repeat, similarity, user
from upnext.features.columns.core import Column

# One bit of a candidate's `sources` each, in this order; append only.
SOURCES = (
    "user_vector", "session_vector", "covisit", "content", "popular", "trending", "fresh", "similar", "session_knn",
    "neighbours", "context",
)  # fmt: skip
SOURCE_BIT = {source: 1 << place for place, source in enumerate(SOURCES)}
_FLAGGED = SOURCES[:6]

CROSS = (
    *core.COLUMNS,
    *(f"from_{source}" for source in _FLAGGED),  # 1 where that source returned the item
)
"""The columns of a ranker for which none were chosen."""
N_FLAGS = len(_FLAGGED)
COLUMNS: dict[str, Column] = {
    **core.COLUMNS, **similarity.COLUMNS, **following.COLUMNS, **crowd.COLUMNS, **age.COLUMNS, **genre.COLUMNS,
    **price.COLUMNS, **repeat.COLUMNS, **mixed.COLUMNS,
}  # fmt: skip
"""Every cross column that has a formula; those without one are flags of sources."""
FLAG_BIT = {f"from_{source}": bit for source, bit in SOURCE_BIT.items()}
ALL_CROSS = (*CROSS, *(name for name in (*FLAG_BIT, *COLUMNS) if name not in CROSS))
USER = ("interactions",)  # log of the number of interactions
ITEM = (
    "count_weekly",  # log of decayed interactions when the release was made
    "published",  # decades since 2000
    "price",  # its log
    "learnt",  # 1 where the session encoder knows the item
)
"""Numbers of users and items that every ranker has; those beside them are chosen."""
ALL_USER = (*USER, *user.NUMBERS)
ALL_ITEM = (*ITEM, *item.FACTS)
_MOST_GENRES = 24
_BIAS = "session_bias"  # the last place of an item's vector in the session encoder's space


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The engineered inputs of one ranker, beside vectors and genres. By default those of a ranker without a choice."""

    cross: tuple[str, ...] = CROSS
    user: tuple[str, ...] = USER
    item: tuple[str, ...] = ITEM

    def unknown(self) -> list[str]:
        """The names that this version has no formula for."""
        return [
            *(name for name in self.cross if name not in ALL_CROSS),
            *(name for name in self.user if name not in ALL_USER),
            *(name for name in self.item if name not in ALL_ITEM),
        ]


EVERYTHING = Chosen(cross=ALL_CROSS, user=ALL_USER, item=ALL_ITEM)


class FeatureSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Names of all inputs of a ranker: per user, per item, and per pair (`cross`)."""

    user: tuple[str, ...]
    item: tuple[str, ...]
    cross: tuple[str, ...] = CROSS

    def digest(self) -> str:
        """16 hex digits; a ranker is only served by code that assembles the very same columns."""
        return blake2b(msgspec.json.encode(self), digest_size=8).hexdigest()

    def chosen(self) -> Chosen:
        """The engineered inputs among them: those that are no place of a vector, its bias, nor a genre."""
        return Chosen(cross=self.cross, user=_scalars(self.user), item=_scalars(self.item))

    def with_chosen(self, chosen: Chosen) -> "FeatureSpec":
        """The same vectors and genres beside other engineered inputs, all of them among those of this spec."""
        others = {*self.chosen().user, *self.chosen().item}
        user = tuple(name for name in self.user if name not in others or name in chosen.user)
        item = tuple(name for name in self.item if name not in others or name in chosen.item)
        return FeatureSpec(user=user, item=item, cross=chosen.cross)


def feature_spec(*, user_dim: int, session_dim: int, genres: list[str], chosen: Chosen | None = None) -> FeatureSpec:
    """The inputs of a release whose encoders have these dimensions (0: no such encoder)."""
    chosen = chosen or Chosen()
    shown = [f"genre:{genre}" for genre in genres[:_MOST_GENRES]]
    return FeatureSpec(
        user=(
            *(f"user_vector:{place}" for place in range(user_dim)),
            *(f"session_vector:{place}" for place in range(session_dim)),
            *chosen.user,
            *shown,
        ),
        item=(
            *(f"user_space:{place}" for place in range(user_dim)),
            *(f"session_space:{place}" for place in range(session_dim)),
            _BIAS,
            *chosen.item,
            *shown,
        ),
        cross=chosen.cross,
    )


def _scalars(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if ":" not in name and name != _BIAS)
