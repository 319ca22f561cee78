"""What the towers know of users and items beside their histories, as arrays; knows neither towers nor training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.domain.event import Item, User
from upnext.errors import TrainingError

MOST_GENRES = 64
MOST_YEARS = 32
"""Items of rarer genres and years have no attribute for them."""
MOST_VALUES = 64
"""A user attribute with more distinct values than this (a zip code, a name) is left out."""


class TowerNames(msgspec.Struct, frozen=True, kw_only=True):
    """What each column and code of the inputs stands for: a model made with them reads later records by the same."""

    genres: list[str]
    years: list[str]
    fields: dict[str, list[str]]  # values of each user attribute, in the order of their codes


@dataclass(frozen=True, slots=True)
class TowerInputs:
    """What the towers know beside histories, by row. Raises TrainingError for a code below -1 or a value not finite.

    `user_attributes` (n_users, n_fields) int32 codes from 0, -1 unknown; `item_attributes` (n_items, n_attributes)
    float32, multi-hot (genres, year buckets, …); `content` (n_items, d) float32, None without texts.
    """

    user_attributes: npt.NDArray[np.int32]
    item_attributes: npt.NDArray[np.float32]
    content: npt.NDArray[np.float32] | None = None
    names: TowerNames | None = None

    def __post_init__(self) -> None:
        if self.user_attributes.size and self.user_attributes.min() < -1:
            raise TrainingError("a user attribute has a code below -1; -1 means unknown, known values count from 0")
        if not np.isfinite(self.side).all():
            raise TrainingError("an item attribute or content vector is not finite; use 0 for what is not known")

    @property
    def n_users(self) -> int:
        return len(self.user_attributes)

    @property
    def n_items(self) -> int:
        return len(self.item_attributes)

    @property
    def side(self) -> npt.NDArray[np.float32]:
        """All that is known of items beside their identity, (n_items, n_side ≥ 1) float32; zeros if that is nothing."""
        parts = [self.item_attributes] if self.content is None else [self.item_attributes, self.content]
        side = np.concatenate(parts, axis=1, dtype=np.float32)
        return side if side.shape[1] else np.zeros((self.n_items, 1), dtype=np.float32)

    @property
    def field_sizes(self) -> tuple[int, ...]:
        """Known values of each user attribute."""
        if self.names is not None:
            return tuple(len(values) for values in self.names.fields.values())
        return tuple((self.user_attributes.max(axis=0, initial=-1) + 1).tolist())


def tower_inputs(
    items: Sequence[Item | None],
    users: Sequence[User | None],
    content: npt.NDArray[np.float32] | None = None,
    names: TowerNames | None = None,
) -> TowerInputs:
    """The inputs made of records in row order, None where nothing is known.

    Item attributes are genres and year of publication; user attributes all those with two to MOST_VALUES distinct
    values, compared as text. `content` (n_items, d) float32 is passed on. With `names`, of inputs made earlier, there
    are these columns and codes and no others: what is not among them counts as unknown.
    """
    genres = [() if item is None else tuple(dict.fromkeys(item.genres)) for item in items]
    years = [() if item is None or item.published_ms is None else (_year(item.published_ms),) for item in items]
    values = [{} if user is None else {k: str(v) for k, v in user.attributes.items()} for user in users]
    names = names or TowerNames(
        genres=_most_frequent(genres, MOST_GENRES), years=_most_frequent(years, MOST_YEARS), fields=_fields(values)
    )
    attributes = np.concatenate([_multi_hot(genres, names.genres), _multi_hot(years, names.years)], axis=1)
    columns = [_codes([known.get(field) for known in values], listed) for field, listed in names.fields.items()]
    codes = np.stack(columns, axis=1) if columns else np.zeros((len(users), 0), dtype=np.int32)
    return TowerInputs(codes, attributes, content, names)


def _fields(values: Sequence[dict[str, str]]) -> dict[str, list[str]]:
    """The distinct values of each user attribute that has two to MOST_VALUES of them, sorted."""
    found: dict[str, set[str]] = {}
    for known in values:
        for field, value in known.items():
            found.setdefault(field, set()).add(value)
    return {field: sorted(listed) for field, listed in sorted(found.items()) if 2 <= len(listed) <= MOST_VALUES}


def _year(published_ms: int) -> str:
    return str(np.datetime64(published_ms, "ms").astype("datetime64[Y]"))


def _most_frequent(names: Sequence[tuple[str, ...]], most: int) -> list[str]:
    """At most `most` names, the most frequent first."""
    counts = Counter(name for row in names for name in row)
    return [name for name, _ in sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:most]]


def _multi_hot(names: Sequence[tuple[str, ...]], columns: list[str]) -> npt.NDArray[np.float32]:
    """(n, n_columns) float32: 1 where a row has the name of the column."""
    column = {name: place for place, name in enumerate(columns)}
    hot = np.zeros((len(names), len(column)), dtype=np.float32)
    for row, known in enumerate(names):
        for name in known:
            if name in column:
                hot[row, column[name]] = 1
    return hot


def _codes(values: Sequence[str | None], listed: list[str]) -> npt.NDArray[np.int32]:
    """The place of each value among `listed`, (n,) int32, -1 for None and for any other."""
    code = {value: place for place, value in enumerate(listed)}
    return np.array([-1 if value is None else code.get(value, -1) for value in values], dtype=np.int32)
