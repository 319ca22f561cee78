"""What the engineered inputs of one user have in common, each part worked out once and only when asked for."""

import numpy as np
import numpy.typing as npt

from upnext.features.item_facts import ItemFacts
from upnext.features.once import Once
from upnext.features.signals import Signals, genre_shares
from upnext.features.user_view import UserView
from upnext.settings import HOUR_MS
from upnext.state.crowd import Crowd

Floats = npt.NDArray[np.float32]
_FADE = 0.9  # weight of each older interaction in a faded profile


class Person:
    """The user's side. "Now" is the moment of the request in event time: the latest event that the crowd has seen."""

    def __init__(self, facts: ItemFacts, view: UserView, signals: Signals, crowd: Crowd) -> None:
        self.facts = facts
        self.view = view
        self.signals = signals
        self.crowd = crowd
        self.now_ms = crowd.trends.latest_ms
        self.recent = view.recent_rows  # (≤ 50,) newest last
        self.last5 = signals.recent_rows  # (≤ 5,) newest first, distinct

    @Once
    def idle_hours(self) -> float:
        """Since the user's latest event; 0 where there is none."""
        return max(self.now_ms - self.view.last_ms, 0) / HOUR_MS if self.view.last_ms else 0.0

    @Once
    def prices(self) -> Floats:
        """Log prices of the recent items, as far as they are known."""
        prices = self.facts.log_price.take(self.recent)
        return prices[~np.isnan(prices)]

    @Once
    def years(self) -> Floats:
        """When the recent items were published, as far as it is known."""
        years = self.facts.years(self.recent)
        return years[~np.isnan(years)]

    @Once
    def genre_last5(self) -> Floats:
        """Shares of primary genres among the newest 5 interactions; so for the newest 20, and fading."""
        return genre_shares(self.recent[-5:], self.facts.catalog)

    @Once
    def genre_last20(self) -> Floats:
        return genre_shares(self.recent[-20:], self.facts.catalog)

    @Once
    def genre_faded(self) -> Floats:
        weights: npt.NDArray[np.float64] = _FADE ** np.arange(len(self.recent) - 1.0, -1.0, -1.0)
        return genre_shares(self.recent, self.facts.catalog, weights)

    def any_genre(self, newest: int) -> Floats:
        """(64,) shares of genres among the newest interactions, of which every genre counts, not only the primary."""
        found: Floats = unpacked(self.facts.catalog.genre_bits.take(self.recent[-newest:])).mean(
            axis=0, dtype=np.float32
        )
        return found


def unpacked(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """(n, 64), 1 for each bit that is set."""
    return np.unpackbits(bits.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
