"""Slates as they were served, what became of them, and the two joined, as plain records; knows no store."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class ServedSlate(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One slate as it left, with what the ranker saw. Stored as a MessagePack array: append fields only, with defaults.

    `item_ids`, `scores` and `sources` are in the order of the slate. Features are absent (`spec`, `user` and `cross`
    empty) where the request did not reach the ranker.
    """

    request_id: str
    served_ms: int
    subject: str | None
    release: str
    tier: str
    surface: str
    state_version: int
    item_ids: list[str]
    scores: list[float]  # of the scale of the stage that ordered the slate
    sources: list[int]  # a bit for every source that returned the item
    spec: str = ""  # digest of the names of the features
    user: bytes = b""  # (n_user_features,) float32, little-endian
    cross: bytes = b""  # (n_items, n_cross_features) float32, little-endian, a row of NaN for an item not ranked

    def user_features(self) -> Floats:
        """(n_user_features,), empty where absent; not to be written to."""
        return np.frombuffer(self.user, "<f4")

    def cross_features(self) -> Floats:
        """(n_items, n_cross_features), (n_items, 0) where absent; not to be written to. NaN: that item was not ranked.

        Items that the rules put in beside the ranking (pins, a slate topped up from the catalogue) are not ranked.
        """
        n_items = len(self.item_ids)
        return np.frombuffer(self.cross, "<f4").reshape(n_items, -1 if self.cross else 0)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True):
    """What one event says about one item of a slate. Stored like `ServedSlate`."""

    item_id: str
    action: str  # "impression" where the item came into view; otherwise what was done to it
    timestamp_ms: int
    subject: int  # key of whose event it is
    value: float | None = None
    position: int | None = None  # where the page showed it, as the page says


@dataclass(frozen=True, slots=True)
class JoinedSlate:
    """A slate with all that is known so far of what became of it."""

    slate: ServedSlate
    outcomes: list[Outcome]  # in the order of the log

    def impressions(self) -> dict[str, Outcome]:
        """By item: the first event that says it came into view."""
        return self._first(lambda outcome: outcome.action == "impression")

    def choices(self) -> dict[str, Outcome]:
        """By item of the slate, the earliest first: what was done with it first, other than disliking it."""
        return self._first(lambda outcome: outcome.action not in ("impression", "dislike"))

    def dislikes(self) -> dict[str, Outcome]:
        """By item: the first dislike."""
        return self._first(lambda outcome: outcome.action == "dislike")

    def strangers(self) -> int:
        """How many outcomes name an item that is not in the slate; they count for nothing."""
        items = set(self.slate.item_ids)
        return sum(outcome.item_id not in items for outcome in self.outcomes)

    def _first(self, wanted: Callable[[Outcome], bool]) -> dict[str, Outcome]:
        items = set(self.slate.item_ids)
        found: dict[str, Outcome] = {}
        for outcome in sorted(self.outcomes, key=lambda outcome: outcome.timestamp_ms):  # stable: ties in log order
            if wanted(outcome) and outcome.item_id in items:
                found.setdefault(outcome.item_id, outcome)
        return found
