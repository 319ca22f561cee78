"""What kind of user this is and when they come: one number each for all candidates of a request."""

import math
from collections.abc import Callable

import numpy as np

from upnext.features.person import Person
from upnext.settings import DAY_MS

Number = Callable[[Person], float]
_WEEK_MS = 7 * DAY_MS


def _turn(person: Person, period_ms: int) -> float:
    """The angle of the moment of the request in a period, UTC."""
    return 2 * math.pi * (person.now_ms % period_ms) / period_ms


def _genres(person: Person) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    shares = person.signals.genre_profile
    return shares[shares > 0]


def _entropy(person: Person) -> float:
    shares = _genres(person)
    return float(-(shares * np.log(shares)).sum())


def _distinct_share(person: Person) -> float:
    return len(set(person.recent.tolist())) / len(person.recent) if len(person.recent) else 0.0


def _popularity(person: Person, column: int) -> float:
    """Mean log count of the recent items by now: whether the user goes with the crowd."""
    if not len(person.recent):
        return 0.0
    return float(np.log1p(person.crowd.trends.counts(person.recent)[:, column]).mean())


def _coherence(person: Person) -> float:
    """Mean cosine of the newest item and the four before it in the session encoder's space."""
    table, last5 = person.facts.vectors.session, person.last5
    if table is None or len(last5) < 2:
        return 0.0
    vectors = table[last5][:, :-1] * person.facts.inverse_session[last5, None]
    return float((vectors[1:] @ vectors[0]).mean())


def _learnt_share(person: Person) -> float:
    return float((person.facts.inverse_session.take(person.recent) > 0).mean()) if len(person.recent) else 0.0


def _session_length(person: Person) -> int:
    return len(person.recent) - person.view.n_before_session


def _steps(person: Person) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Absolute differences of publication between neighbours among the recent items, in years."""
    return np.abs(np.diff(person.years))


NUMBERS: dict[str, Number] = {
    # log of hours since the latest event; and 1 right after it, half as much each half hour
    "idle": lambda person: math.log1p(person.idle_hours),
    "awake": lambda person: 2.0 ** (-2.0 * person.idle_hours) if person.view.last_ms else 0.0,
    # 1 for somebody new, falling with interactions; how many items are known as seen
    "newness": lambda person: 1.0 / (1.0 + person.view.n_interactions),
    "seen": lambda person: math.log1p(len(person.view.seen_rows)),
    # time of the day and of the week at the moment of the request, UTC, as points on a circle
    "hour_sin": lambda person: math.sin(_turn(person, DAY_MS)),
    "hour_cos": lambda person: math.cos(_turn(person, DAY_MS)),
    "weekday_sin": lambda person: math.sin(_turn(person, _WEEK_MS)),
    "weekday_cos": lambda person: math.cos(_turn(person, _WEEK_MS)),
    # log of how many items were chosen in the latest session; and 1 at its first, falling with them
    "session_items": lambda person: math.log1p(_session_length(person)),
    "session_begin": lambda person: 1.0 / max(1, _session_length(person)),
    # breadth: distinct genres, how evenly they are spread, the share of the commonest
    "genre_breadth": lambda person: math.log1p(len(_genres(person))),
    "genre_entropy": _entropy,
    "genre_top": lambda person: float(person.signals.genre_profile.max(initial=0.0)),
    # share of different items among the recent interactions: below 1 for those who come back to the same
    "distinct": _distinct_share,
    # mean and spread of log prices, and of years of publication in decades, of the recent items
    "price_mean": lambda person: float(person.prices.mean()) if len(person.prices) else 0.0,
    "price_spread": lambda person: float(person.prices.std()) if len(person.prices) else 0.0,
    "era_mean": lambda person: float(person.years.mean()) / 10 if len(person.years) else 0.0,
    "era_spread": lambda person: float(person.years.std()) / 10 if len(person.years) else 0.0,
    "era_step": lambda person: float(_steps(person).mean()) / 10 if len(person.years) > 1 else 0.0,
    # how popular the recent items are these days, and right now
    "mainstream": lambda person: _popularity(person, 2),
    "mainstream_now": lambda person: _popularity(person, 0),
    # how alike the newest items are
    "coherence": _coherence,
    # share of the recent items that the session encoder has learnt
    "learnt_share": _learnt_share,
}
