"""A release whose item rows come from the store answers as one that has them mapped."""

import logging

import numpy as np
import pytest

from tests.funnel.fakes import NOW_MS, World, noted, run
from tests.funnel.small_release import N_ITEMS, SPARE, made_parts, release_of, topic_item
from upnext.clock import Deadline
from upnext.domain.event import Event
from upnext.errors import ReleaseError, StoreError
from upnext.features.item_rows import ItemTier
from upnext.features.item_rows_publish import publish
from upnext.funnel.live import Live, item_tables, open_live
from upnext.ingest.records import ItemChange
from upnext.settings import RetrievalSettings, Settings
from upnext.state.apply import apply_events
from upnext.store.memory_store import MemoryStore

FEW_ROWS = 24  # of 60 fit
SETTINGS = Settings(retrieval=RetrievalSettings(candidates=20))


class Breakable(MemoryStore):
    """A store that is out of reach when told to be."""

    down = False

    def get_many(self, keys, deadline):
        if self.down:
            raise StoreError("out of reach")
        return super().get_many(keys, deadline)


@pytest.fixture(scope="module")
def parts():
    return made_parts()


@pytest.fixture(scope="module")
def release(parts, tmp_path_factory):
    return release_of(tmp_path_factory.mktemp("home"), parts)


@pytest.fixture
def store(release, parts) -> Breakable:
    store = Breakable()
    publish(release.id, item_tables(release), N_ITEMS, store, Deadline.never(parts.world.clock))
    return store


@pytest.fixture
def mapped(release, parts) -> Live:
    return open_live(release, SETTINGS, parts.world.clock)


@pytest.fixture
def tiered(release, parts, store) -> Live:
    tier = ItemTier(store, l1_bytes=FEW_ROWS * 240, pinned_share=0.05, least_rows=FEW_ROWS)
    return open_live(release, SETTINGS, parts.world.clock, tier=tier)


def assert_same(parts, mapped: Live, tiered: Live, view, **request) -> list[int]:
    """Both answer the same, to the last bit; the rows."""
    one, other = (run(live.funnel, parts.world.clock, view, **{"k": 10} | request) for live in (mapped, tiered))
    assert (one.slate.tier, noted(one)) == (other.slate.tier, noted(other)) == ("full", [])
    for held in ("ranked", "slate"):
        for name in ("rows", "scores", "sources"):
            np.testing.assert_array_equal(getattr(getattr(one, held), name), getattr(getattr(other, held), name))
    return one.slate.rows.tolist()


def a_view(parts, rng):
    return parts.world.view(recent=rng.choice(N_ITEMS, 5), n_interactions=int(rng.integers(0, 9)))


def test_slates_and_scores_are_the_same_to_the_last_bit(parts, mapped, tiered):
    rng, cache = np.random.default_rng(0), tiered.item_rows.cache
    assert (cache.capacity, cache.pinned) == (FEW_ROWS, 3)
    slates = {tuple(assert_same(parts, mapped, tiered, a_view(parts, rng))) for _ in range(60)}
    assert len(slates) > 20
    assert cache.evictions > 100
    assert cache.hits > 100
    for row in range(N_ITEMS):
        for one, other in zip(
            mapped.funnel.retrieval.similar(row, 5), tiered.funnel.retrieval.similar(row, 5), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_posted_items_leave_as_they_do_from_mapped_tables(parts, mapped, tiered):
    rng = np.random.default_rng(1)
    view = a_view(parts, rng)
    assert_same(parts, mapped, tiered, view)
    for number in range(SPARE):
        item = topic_item(f"new{number}", number % 3, title="A garden with an orbit")
        for live in (mapped, tiered):
            live.fresh.apply([ItemChange(41 + number, item.item_id, item)])
            while live.fresh.take_in():
                pass
        assert_same(parts, mapped, tiered, view)
    posted = assert_same(parts, mapped, tiered, view, exclude_rows=np.arange(N_ITEMS, dtype=np.int32))
    assert len(posted) == 10
    assert min(posted) >= N_ITEMS


def test_facts_of_released_items_change_with_the_store_out_of_reach(parts, mapped, tiered, store):
    view = a_view(parts, np.random.default_rng(2))
    store.down = True
    for live in (mapped, tiered):
        live.fresh.apply([ItemChange(41, "4", topic_item("4", 2, price=3.0)), ItemChange(42, "7", None)])
    store.down = False
    assert 7 not in assert_same(parts, mapped, tiered, view, k=20)


def test_with_the_store_out_of_reach_requests_end_at_the_fast_tier_and_come_back(parts, tiered, mapped, store, caplog):
    view = parts.world.view(recent=[5, 9], n_interactions=9)
    store.down = True
    with caplog.at_level(logging.CRITICAL):
        answer = run(tiered.funnel, parts.world.clock, view)
    assert (answer.slate.tier, len(answer.slate.rows)) == ("fast", 10)
    assert {why for _, why in noted(answer)} == {"error"}
    store.down = False
    assert_same(parts, mapped, tiered, view)


def test_rows_at_hand_are_ranked_with_the_store_out_of_reach(parts, release, mapped, store):
    roomy = open_live(release, SETTINGS, parts.world.clock, tier=ItemTier(store, l1_bytes=1 << 20, least_rows=1))
    roomy.item_rows.bring(np.arange(N_ITEMS), Deadline.never(parts.world.clock))
    roomy.item_rows.bring(np.arange(1), Deadline.never(parts.world.clock))
    store.down = True
    assert_same(parts, mapped, roomy, a_view(parts, np.random.default_rng(3)))


def test_session_vectors_step_even_with_the_rows_out_of_reach(parts, mapped, tiered, store):
    store.down = True
    rows = np.array([3, -1, 17], np.int32)
    empty = [np.empty(0, np.float32)] * 3
    for one, other in zip(mapped.stepper.step_rows(empty, rows), tiered.stepper.step_rows(empty, rows), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one[1], other[1])


def test_a_click_moves_the_session_vector_as_with_mapped_tables(parts, mapped, tiered):
    vectors = []
    for live in (mapped, tiered):
        own, never = MemoryStore(), Deadline.never(parts.world.clock)
        click = Event(event_id="1", action="click", timestamp_ms=NOW_MS, user_id="1", item_id="17")
        apply_events([(1, click)], own, live.stepper, Settings().state, never)
        vectors.append(live.view("u:1", own, never).session_vector)
    np.testing.assert_array_equal(*vectors)
    assert len(vectors[0])


def test_a_release_that_was_not_published_is_refused(parts, release):
    with pytest.raises(ReleaseError, match="upnext release publish"):
        open_live(release, SETTINGS, parts.world.clock, tier=ItemTier(MemoryStore(), 1 << 20, least_rows=1))


def test_a_release_without_some_tables_is_served_from_those_it_has(parts, tmp_path):
    release, store = release_of(tmp_path, parts, without=("ranker.exits",)), MemoryStore()
    publish(release.id, item_tables(release), N_ITEMS, store, Deadline.never(parts.world.clock))
    live = open_live(release, SETTINGS, parts.world.clock, tier=ItemTier(store, 1 << 20, least_rows=1))
    answer = run(live.funnel, parts.world.clock, a_view(parts, np.random.default_rng(0)))
    assert (answer.slate.tier, noted(answer)) == ("fast", [("ranking", "absent")])


def test_rows_out_of_reach_cost_the_ranking_and_not_the_answer() -> None:
    world = World(200)
    funnel, view = world.funnel(), world.view(recent=[5], seen=[5])

    class OutOfReach:
        def bring(self, rows: object, deadline: object) -> None:
            raise StoreError("no rows")

    whole = run(funnel, world.clock, view)
    funnel._item_rows = OutOfReach()  # type: ignore[assignment]
    answer = run(funnel, world.clock, view)
    assert (whole.slate.tier, answer.slate.tier) == ("full", "fast")
    assert ("items", "error") in noted(answer)
    assert len(answer.slate.rows) == len(whole.slate.rows)
