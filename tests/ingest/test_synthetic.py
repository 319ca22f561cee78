"""The synthetic world does what its truth says, and is the same every time."""

from pathlib import Path

import numpy as np
import pytest

from tests.ingest.importing import by_kind, read_all
from upnext.contracts.event import check_event
from upnext.contracts.item import check_item
from upnext.domain.event import INTERACTION_CODES, Event
from upnext.ingest.importers.formats import open_source
from upnext.ingest.synthetic import DAY_MS, DEFAULT_NOW_MS, World, synthetic_world


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(n_items=1500, n_users=300, n_events=40_000)


@pytest.fixture(scope="module")
def interactions(world: World) -> np.ndarray:
    return np.flatnonzero(np.isin(world.events.action, list(INTERACTION_CODES)))


@pytest.mark.parametrize("sizes", [(1500, 300, 40_000), (30, 5, 200), (1, 1, 1), (7, 3, 50)])
def test_a_world_has_exactly_the_sizes_asked_for(sizes: tuple[int, int, int]) -> None:
    records = by_kind(synthetic_world(*sizes).records())
    assert (len(records.items), len(records.users), len(records.events)) == sizes


def test_every_record_keeps_its_contract_and_events_come_in_order(world: World) -> None:
    records = by_kind(world.records())
    for item in records.items:
        check_item(item)
    for event in records.events:
        check_event(event, now_ms=world.now_ms)
    moments = [event.timestamp_ms for event in records.events]
    assert moments == sorted(moments)
    assert moments[-1] <= world.now_ms
    assert len({event.event_id for event in records.events}) == len(records.events)


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    first, again, other = (list(synthetic_world(60, 20, 500, seed).records()) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_nobody_meets_an_item_before_it_is_published(world: World) -> None:
    published_ms = np.array([item.published_ms for item in world.items])
    with_item = world.events.item >= 0
    assert (published_ms[world.events.item[with_item]] <= world.events.timestamp_ms[with_item]).all()


def test_some_items_are_from_the_last_day_and_all_from_the_last_two_years(world: World) -> None:
    days_ago = (world.now_ms - np.array([item.published_ms for item in world.items])) / DAY_MS
    assert 0 < days_ago.min() < 1
    assert 700 < days_ago.max() < 731
    assert (days_ago < 1).sum() == 15


def test_series_are_chains_of_five_to_eight_within_one_genre(world: World) -> None:
    follower = world.next_in_series
    has_next = follower >= 0
    assert (world.item_genre[has_next] == world.item_genre[follower[has_next]]).all()
    starts = np.setdiff1d(np.arange(len(follower)), follower[has_next])
    lengths = []
    for start in starts:
        length, item = 1, start
        while follower[item] >= 0:
            length, item = length + 1, follower[item]
        lengths.append(length)
    assert sum(lengths) == 1500
    # Only the last series may be cut by the size of the catalogue.
    assert sorted(set(sorted(lengths)[1:])) == [5, 6, 7, 8]


def test_users_mostly_go_on_along_a_series(world: World, interactions: np.ndarray) -> None:
    by_session = interactions[np.argsort(world.events.session[interactions], kind="stable")]
    session, item = world.events.session[by_session], world.events.item[by_session]
    together = session[1:] == session[:-1]
    follows = world.next_in_series[item[:-1]] == item[1:]
    assert 0.4 < follows[together].mean() < 0.65


def test_what_users_meet_mirrors_their_tastes(world: World, interactions: np.ndarray) -> None:
    counts = np.zeros_like(world.taste)
    user, item = world.events.user[interactions], world.events.item[interactions]
    np.add.at(counts, (user, world.item_genre[item]), 1)
    busy = counts.sum(axis=1) > 100
    shares = counts[busy] / counts[busy].sum(axis=1, keepdims=True)
    expected = (world.taste[busy] + world.taste_before[busy]) / 2
    assert busy.sum() > 50
    assert np.corrcoef(shares.ravel(), expected.ravel())[0, 1] > 0.75
    assert np.allclose(world.taste.sum(axis=1), 1)


def test_tastes_drift_towards_those_of_now(world: World, interactions: np.ndarray) -> None:
    half = len(interactions) // 2
    likeness = []
    for part in (interactions[:half], interactions[half:]):
        genre = world.item_genre[world.events.item[part]]
        change = (world.taste - world.taste_before)[world.events.user[part], genre]
        likeness.append(change.mean())
    assert likeness[1] > likeness[0] + 0.01


def test_a_few_items_are_met_far_more_often_than_most(world: World, interactions: np.ndarray) -> None:
    counts = np.sort(np.bincount(world.events.item[interactions], minlength=1500))[::-1]
    assert counts[:150].sum() > 0.3 * counts.sum()
    assert counts[750:].sum() < 0.3 * counts.sum()


def test_titles_are_words_of_their_genre_and_mostly_distinct(world: World) -> None:
    titles = [item.title for item in world.items]
    assert len(set(titles)) > 0.97 * len(titles)
    assert all(title.startswith("The ") for title in titles)
    assert {item.genres[0] for item in world.items} == set(world.genres)


def test_the_source_names_a_world_by_its_sizes() -> None:
    path = Path("synthetic:n_items=40,n_users=9,n_events=100,seed=3")
    source = open_source(path, now_ms=DEFAULT_NOW_MS)
    read = read_all(source)
    assert (len(read.items), len(read.users), len(read.events)) == (40, 9, 100)
    assert (source.rows_read, source.fraction_read()) == (149, 1.0)
    assert isinstance(read.events[0], Event)
    assert read_all(open_source(path, now_ms=DEFAULT_NOW_MS)) == read
