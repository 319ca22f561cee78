"""A made-up world with a known truth: who likes what, and what follows what; knows nothing of logs or files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTIONS, Event, Item, User
from upnext.ingest.synthetic_sessions import EventArrays, Truth, simulate
from upnext.ingest.synthetic_words import GENRES, description, episode_title, search_words, series_titles

DEFAULT_NOW_MS = 1_760_000_000_000
DAY_MS = 86_400_000
_CATALOGUE_DAYS = 730
_FRESH_SHARE = 0.01
_SERIES_LENGTHS = (5, 8)
_AGES = ("under 18", "18-29", "30-44", "45-59", "60 and over")
_GENDERS = ("F", "M", "X")
REGIONS = ("north", "south", "east", "west")
DEVICES = ("mobile", "desktop", "tv", "tablet")


@dataclass(frozen=True)
class World:
    """A catalogue, its users, and what they did, with the truth that made them do it.

    `taste` (n_users, n_genres) float64, rows sum to 1: each user's liking at `now_ms`, `taste_before` at the first
    event; in between it drifts evenly. `item_genre` (n_items,) int64: the primary genre, as an index into `genres`.
    `next_in_series` (n_items,) int64: the item users tend to go on to, -1 at the end of a series.
    """

    genres: tuple[str, ...]
    items: list[Item]
    users: list[User]
    taste: npt.NDArray[np.float64]
    taste_before: npt.NDArray[np.float64]
    item_genre: npt.NDArray[np.int64]
    next_in_series: npt.NDArray[np.int64]
    events: EventArrays
    now_ms: int
    seed: int

    def records(self) -> Iterator[Item | User | Event]:
        """Every item, every user, and every event in order of time; event ids depend on seed and position."""
        yield from self.items
        yield from self.users
        contexts = [{"device": user.attributes["device"], "region": user.attributes["region"]} for user in self.users]
        columns = (self.events.user, self.events.item, self.events.action, self.events.timestamp_ms)
        more = (self.events.session, self.events.value, self.events.query)
        rows = zip(*(column.tolist() for column in columns + more), strict=True)
        for number, (user, item, action, timestamp_ms, session, value, query) in enumerate(rows):
            genre, words = divmod(query, 100)
            yield Event(
                event_id=f"synthetic:{self.seed}:{number}",
                action=ACTIONS[action],
                timestamp_ms=timestamp_ms,
                user_id=self.users[user].user_id,
                session_id=f"s{session:07}",
                item_id=self.items[item].item_id if item >= 0 else None,
                value=value if value == value else None,
                query=search_words(genre, words) if query >= 0 else None,
                context=contexts[user],
            )


def synthetic_world(
    n_items: int = 5000,
    n_users: int = 2000,
    n_events: int = 200_000,
    seed: int = 7,
    *,
    now_ms: int = DEFAULT_NOW_MS,
) -> World:
    """A world of exactly these sizes; the same arguments give the same world.

    Items belong to series of 5 to 8 within one genre, appeared over the two years before `now_ms` (about 1 % in its
    last day), and have popularities by Zipf's law. Users' tastes over the genres are Dirichlet draws, leaning to
    their age's favourites, and drift over the 60 days of events. Nobody meets an item before it is published.
    """
    rng = np.random.default_rng(seed)
    item_genre, series, position, next_in_series = _series(n_items, rng)
    published_ms = _publication(series, position, now_ms, rng)
    items = _items(item_genre, series, position, published_ms, rng)
    ages = rng.integers(len(_AGES), size=n_users)
    taste_before, taste = _tastes(ages, rng)
    truth = Truth(
        item_genre=item_genre,
        item_weight=_popularity(position, rng),
        item_price=np.array([item.price for item in items]),
        published_ms=published_ms,
        next_in_series=next_in_series,
        taste_before=taste_before,
        taste=taste,
    )
    return World(
        genres=GENRES,
        items=items,
        users=_users(ages, rng),
        taste=taste,
        taste_before=taste_before,
        item_genre=item_genre,
        next_in_series=next_in_series,
        events=simulate(truth, n_events, now_ms, rng),
        now_ms=now_ms,
        seed=seed,
    )


def _series(n_items: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], ...]:
    """Genre, series, position in the series, and successor (-1 none) of every item, each (n_items,)."""
    shortest, longest = _SERIES_LENGTHS
    lengths = rng.integers(shortest, longest + 1, size=n_items // shortest + 1)
    slot_series = np.repeat(np.arange(len(lengths)), lengths)[:n_items]
    slot_position = np.arange(n_items) - np.searchsorted(slot_series, slot_series)
    genre_share = rng.dirichlet(np.full(len(GENRES), 8.0))
    series_genre = rng.choice(len(GENRES), size=len(lengths), p=genre_share)
    # Every genre gets a series, as far as there are series.
    series_genre[: len(GENRES)] = np.arange(len(GENRES))[: len(lengths)]
    # Numbers are dealt at random, so that an item's number says nothing about its place.
    item_of_slot = rng.permutation(n_items)
    slot_of_item = np.argsort(item_of_slot)
    follower = np.full(n_items, -1)
    goes_on = slot_series[1:] == slot_series[:-1]
    follower[item_of_slot[:-1][goes_on]] = item_of_slot[1:][goes_on]
    series = slot_series[slot_of_item]
    return series_genre[series], series, slot_position[slot_of_item], follower


def _publication(
    series: npt.NDArray[np.int64], position: npt.NDArray[np.int64], now_ms: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """When each item appeared: series over two years, a week between episodes, some items within the last day."""
    first_day = rng.uniform(1, _CATALOGUE_DAYS, size=int(series.max()) + 1)
    days_ago = np.maximum(first_day[series] - 7 * position, rng.uniform(1, 3, size=len(series)))
    ends = np.flatnonzero(position == np.bincount(series)[series] - 1)
    fresh = rng.permutation(ends)[: max(1, int(_FRESH_SHARE * len(series)))]
    days_ago[fresh] = rng.uniform(0.02, 0.98, size=len(fresh))
    return (now_ms - days_ago * DAY_MS).astype(np.int64)


def _popularity(position: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Zipf's law over a random order; who starts a series mostly starts at its beginning."""
    weight = 1.0 / (10.0 + rng.permutation(len(position))) ** 0.9
    return np.where(position == 0, weight, 0.3 * weight)


def _items(
    genre: npt.NDArray[np.int64],
    series: npt.NDArray[np.int64],
    position: npt.NDArray[np.int64],
    published_ms: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> list[Item]:
    n_items = len(genre)
    n_series = int(series.max()) + 1
    series_genre = np.zeros(n_series, dtype=np.int64)
    series_genre[series] = genre
    names = [""] * n_series
    for of_genre in range(len(GENRES)):
        numbers = np.flatnonzero(series_genre == of_genre)
        for number, title in zip(numbers, series_titles(of_genre, len(numbers), rng), strict=True):
            names[number] = title
    second = np.where(rng.random(n_items) < 0.4, (genre + rng.integers(1, 4, n_items)) % len(GENRES), -1)
    price = np.round(rng.uniform(2, 20, n_items)) - 0.01
    promoted = rng.random(n_items) < 0.005
    return [
        Item(
            item_id=f"i{number:06}",
            title=episode_title(first, names[series[number]], int(position[number]), rng),
            genres=(GENRES[first],) if other < 0 else (GENRES[first], GENRES[other]),
            text=description(first, None if other < 0 else other, rng),
            published_ms=int(published_ms[number]),
            price=round(float(price[number]), 2),
            promoted=bool(promoted[number]),
            attributes={"series": names[series[number]], "episode": int(position[number]) + 1},
        )
        for number, (first, other) in enumerate(zip(genre.tolist(), second.tolist(), strict=True))
    ]


def _tastes(
    ages: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Tastes at the first event and now, each (n_users, n_genres): two fifths of a taste change in between."""
    favourites = np.array([rng.permutation(len(GENRES)) < 4 for _ in _AGES])
    concentration = 0.12 + 0.5 * favourites[ages]
    before, later = (_dirichlet(concentration, rng) for _ in range(2))
    return before, 0.6 * before + 0.4 * later


def _dirichlet(concentration: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """One draw per row of concentrations."""
    draws: npt.NDArray[np.float64] = rng.standard_gamma(concentration) + 1e-9
    shares: npt.NDArray[np.float64] = draws / draws.sum(axis=1, keepdims=True)
    return shares


def _users(ages: npt.NDArray[np.int64], rng: np.random.Generator) -> list[User]:
    def drawn(names: tuple[str, ...]) -> list[str]:
        return [names[code] for code in rng.integers(len(names), size=len(ages))]

    columns: dict[str, list[Any]] = {
        "age": [_AGES[age] for age in ages],
        "gender": drawn(_GENDERS),
        "region": drawn(REGIONS),
        "device": drawn(DEVICES),
    }
    return [
        User(user_id=f"u{number:05}", attributes={name: column[number] for name, column in columns.items()})
        for number in range(len(ages))
    ]
