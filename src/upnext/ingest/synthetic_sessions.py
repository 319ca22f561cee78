"""Sessions of a made-up world as arrays of events, drawn all at once; knows nothing of titles or ids."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTION_CODE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PERIOD_MS = 60 * 86_400_000
_LONGEST_SESSION = 15
_FOLLOW_SERIES = 0.65
_STRAY = 0.10
_TRIES = 3
_KEPT_REPEATS = 0.15
_ACTION_SHARES = {
    "click": 0.45,
    "view": 0.20,
    "play": 0.20,
    "complete": 0.06,
    "like": 0.05,
    "purchase": 0.02,
    "add_to_cart": 0.02,
}
# Sessions by hour of the day, UTC: a quiet night and a busy evening.
_HOURS = np.array([2, 1, 1, 1, 1, 1, 2, 3, 4, 4, 4, 4, 5, 5, 4, 4, 5, 6, 7, 8, 9, 8, 6, 4], dtype=np.float64)


@dataclass(frozen=True)
class Truth:
    """What makes users do what they do: per item (n_items,), per user (n_users, n_genres)."""

    item_genre: Ints
    item_weight: Floats
    item_price: Floats
    published_ms: Ints
    next_in_series: Ints
    taste_before: Floats
    taste: Floats


@dataclass(frozen=True)
class EventArrays:
    """Events by column, each (n_events,), in order of time.

    `item` -1: none. `action`: code. `session`: number from 0 up. `value` NaN: none. `query`: 100 × genre + words, or
    -1 for none.
    """

    user: Ints
    item: Ints
    action: npt.NDArray[np.uint8]
    timestamp_ms: Ints
    session: Ints
    value: Floats
    query: Ints

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: npt.NDArray[np.intp]) -> "EventArrays":
        """These rows, in this order."""
        return EventArrays(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class _Sessions:
    """Who, when, about which genre, and for how many items, each (n_sessions,)."""

    user: Ints
    start_ms: Ints
    genre: Ints
    length: Ints


def simulate(truth: Truth, n_events: int, now_ms: int, rng: np.random.Generator) -> EventArrays:
    """Exactly `n_events` events of sessions in the 60 days before `now_ms`; only the first session may be cut.

    A session keeps to one genre, drawn from the user's taste of that moment, and goes on along a series with
    probability 0.65, else to an item of the genre by popularity; one item in ten is a stray. Most repeats of a user
    with an item are left out, as far as there are events to spare.
    """
    n_sessions = n_events // 3 + 10
    while True:
        sessions = _sessions(truth, n_sessions, now_ms, rng)
        drawn = _with_asides(truth, sessions, _steps(truth, sessions, rng), rng)
        drawn = drawn.take(np.flatnonzero(drawn.timestamp_ms <= now_ms))
        if len(drawn) >= n_events:
            break
        n_sessions *= 2
    drawn = drawn.take(np.lexsort((drawn.session, drawn.timestamp_ms)))
    drawn = _without_repeats(drawn, len(drawn) - n_events, rng)
    # Whole sessions go until the size is right, so that those left still span the sixty days.
    lengths = np.bincount(drawn.session, minlength=n_sessions)
    order = rng.permutation(n_sessions)
    kept_sessions = np.zeros(n_sessions, dtype=bool)
    kept_sessions[order[: int(np.searchsorted(lengths[order].cumsum(), n_events)) + 1]] = True
    return drawn.take(np.flatnonzero(kept_sessions[drawn.session])[-n_events:])


def _sessions(truth: Truth, n_sessions: int, now_ms: int, rng: np.random.Generator) -> _Sessions:
    n_users = len(truth.taste)
    activity = rng.lognormal(sigma=1.0, size=n_users)
    user = rng.choice(n_users, size=n_sessions, p=activity / activity.sum())
    day = rng.integers(PERIOD_MS // 86_400_000, size=n_sessions)
    hour = rng.choice(24, size=n_sessions, p=_HOURS / _HOURS.sum())
    # Days end now; hours of the day are only as good as `now_ms` is a midnight, which nothing depends on.
    start_ms = now_ms - PERIOD_MS + day * 86_400_000 + hour * 3_600_000 + rng.integers(3_600_000, size=n_sessions)
    start_ms = np.sort(start_ms)
    elapsed = ((start_ms - (now_ms - PERIOD_MS)) / PERIOD_MS)[:, None]
    taste = (1 - elapsed) * truth.taste_before[user] + elapsed * truth.taste[user]
    genre = (rng.random((n_sessions, 1)) > taste.cumsum(axis=1)).sum(axis=1)
    genre = np.minimum(genre, taste.shape[1] - 1)
    length = np.clip(1 + rng.geometric(0.2, size=n_sessions), 2, _LONGEST_SESSION)
    return _Sessions(user, start_ms, genre, length)


class _Picker:
    """Draws items by popularity, of a genre or of all."""

    def __init__(self, truth: Truth) -> None:
        self._by_genre = np.argsort(truth.item_genre, kind="stable")
        self._reach = np.concatenate([[0.0], truth.item_weight[self._by_genre].cumsum()])
        n_genres = truth.taste.shape[1]
        first = np.searchsorted(truth.item_genre[self._by_genre], np.arange(n_genres + 1))
        self._from, self._to = self._reach[first[:-1]], self._reach[first[1:]]

    def pick(self, genre: Ints, rng: np.random.Generator) -> Ints:
        """One item per entry of `genre`; where that is -1, or a genre without items, any item."""
        anything = (genre < 0) | (self._from[genre] == self._to[genre])
        low = np.where(anything, 0.0, self._from[genre])
        high = np.where(anything, self._reach[-1], self._to[genre])
        at = np.searchsorted(self._reach, low + rng.random(len(genre)) * (high - low), side="right") - 1
        picked: Ints = self._by_genre[np.minimum(at, len(self._by_genre) - 1)]
        return picked


def _steps(truth: Truth, sessions: _Sessions, rng: np.random.Generator) -> EventArrays:
    """The interactions of all sessions, step by step for all of them at once."""
    picker = _Picker(truth)
    codes = np.array([ACTION_CODE[action] for action in _ACTION_SHARES])
    shares = np.array(list(_ACTION_SHARES.values()))
    row = np.arange(len(sessions.user))
    moment_ms = sessions.start_ms.copy()
    current = np.full(len(row), -1)
    steps = []
    for step in range(_LONGEST_SESSION):
        row = row[sessions.length[row] > step]
        moment_ms[row] += 1000 + rng.exponential(90_000, size=len(row)).astype(np.int64)
        item = _next_items(truth, picker, sessions.genre[row], current[row], moment_ms[row], rng)
        met = item >= 0
        current[row[met]] = item[met]
        at, item = row[met], item[met]
        action = rng.choice(codes, size=len(at), p=shares)
        steps.append(_events(sessions, at, item, action, moment_ms[at], _values(truth, item, action, rng)))
    return _joined(steps)


def _next_items(
    truth: Truth, picker: _Picker, genre: Ints, current: Ints, moment_ms: Ints, rng: np.random.Generator
) -> Ints:
    """What each session turns to next, given its genre and current item (-1 none); -1 where nothing is out yet."""
    following = np.where(current >= 0, truth.next_in_series[current], -1)
    out = (following >= 0) & (truth.published_ms[following] <= moment_ms)
    chosen = np.where(out & (rng.random(len(current)) < _FOLLOW_SERIES), following, -1)
    wanted = np.where(rng.random(len(current)) < _STRAY, -1, genre)
    for _ in range(_TRIES):
        open_at = np.flatnonzero(chosen < 0)
        picked = picker.pick(wanted[open_at], rng)
        chosen[open_at] = np.where(truth.published_ms[picked] <= moment_ms[open_at], picked, -1)
    return chosen


def _values(truth: Truth, item: Ints, action: Ints, rng: np.random.Generator) -> Floats:
    """Seconds watched for plays, the whole hour and a half for completions, the price for purchases, else NaN."""
    value = np.full(len(item), np.nan)
    played = action == ACTION_CODE["play"]
    value[played] = rng.integers(30, 5_400, size=int(played.sum()))
    value[action == ACTION_CODE["complete"]] = 5_400
    bought = action == ACTION_CODE["purchase"]
    value[bought] = truth.item_price[item[bought]]
    return value


def _with_asides(truth: Truth, sessions: _Sessions, steps: EventArrays, rng: np.random.Generator) -> EventArrays:
    """The steps with what happens around them: searches at the start, impressions and hovers before, dislikes after."""
    picker = _Picker(truth)
    searching = np.flatnonzero(rng.random(len(sessions.user)) < 0.12)
    nothing = np.full(len(searching), -1)
    words = 100 * sessions.genre[searching] + rng.integers(100, size=len(searching))
    parts = [steps, _events(sessions, searching, nothing, "search", sessions.start_ms[searching], query=words)]
    for action, share, after_ms in (("impression", 0.10, -900), ("hover", 0.06, -400), ("dislike", 0.01, 300)):
        beside = np.flatnonzero(rng.random(len(steps)) < share)
        at, moment_ms = steps.session[beside], steps.timestamp_ms[beside] + after_ms
        item = picker.pick(np.full(len(at), -1) if action == "dislike" else sessions.genre[at], rng)
        out = truth.published_ms[item] <= moment_ms
        parts.append(_events(sessions, at[out], item[out], action, moment_ms[out]))
    return _joined(parts)


def _without_repeats(events: EventArrays, at_most: int, rng: np.random.Generator) -> EventArrays:
    """The events without most of those in which a user meets an item again; `at_most` so many are left out."""
    pair = events.user * (1 + events.item.max(initial=0)) + events.item
    _, first = np.unique(pair, return_index=True)
    again = np.ones(len(events), dtype=bool)
    again[first] = False
    again &= (events.item >= 0) & (rng.random(len(events)) >= _KEPT_REPEATS)
    left_out = rng.permutation(np.flatnonzero(again))[:at_most]
    return events.take(np.delete(np.arange(len(events)), left_out))


def _events(
    sessions: _Sessions,
    at: Ints,
    item: Ints,
    action: Ints | str,
    moment_ms: Ints,
    value: Floats | None = None,
    query: Ints | None = None,
) -> EventArrays:
    """Events of the sessions `at`; `action` is one name for all or a code for each."""
    codes = np.full(len(at), ACTION_CODE[action]) if isinstance(action, str) else action
    return EventArrays(
        user=sessions.user[at],
        item=item,
        action=codes.astype(np.uint8),
        timestamp_ms=moment_ms,
        session=at,
        value=np.full(len(at), np.nan) if value is None else value,
        query=np.full(len(at), -1) if query is None else query,
    )


def _joined(parts: list[EventArrays]) -> EventArrays:
    return EventArrays(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(EventArrays))
    )
