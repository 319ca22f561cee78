"""Decayed counts of items, against decay computed event by event."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.state.kept_arrays import KeptArrays
from upnext.settings import DAY_MS, HOUR_MS, TrendSettings
from upnext.state.trends import ItemTrends

N_ITEMS = 12
HALF_LIVES_MS = (HOUR_MS, DAY_MS, 7 * DAY_MS)
NOW_MS = 1_700_000_000_000
# Events hours to years apart, so that exponents pass the point of renormalisation again and again.
EVENTS = st.lists(
    st.tuples(
        st.integers(0, N_ITEMS - 1),
        st.one_of(st.integers(0, 6 * HOUR_MS), st.integers(0, 60 * DAY_MS), st.integers(0, 900 * DAY_MS)),
    ),
    min_size=1,
    max_size=40,
).map(lambda events: [(row, NOW_MS + ms) for row, ms in events])


def trends_of(events: list[tuple[int, int]], n_items: int = N_ITEMS, **changed: int) -> ItemTrends:
    trends = ItemTrends(n_items, TrendSettings(**changed))
    for row, timestamp_ms in events:
        trends.observe(row, timestamp_ms)
    return trends


def decayed_directly(events: list[tuple[int, int]]) -> np.ndarray:
    counts, latest_ms = np.zeros((N_ITEMS, 3)), max(ms for _, ms in events)
    for row, timestamp_ms in events:
        for column, half_life_ms in enumerate(HALF_LIVES_MS):
            counts[row, column] += 0.5 ** ((latest_ms - timestamp_ms) / half_life_ms)
    return counts


def every(n_items: int = N_ITEMS) -> np.ndarray:
    return np.arange(n_items, dtype=np.int32)


@given(EVENTS)
@settings(max_examples=200, deadline=None)
def test_forward_decay_counts_as_direct_decay_does(events: list[tuple[int, int]]) -> None:
    counts = trends_of(events).counts(every())
    assert counts.dtype == np.float32
    np.testing.assert_allclose(counts, decayed_directly(events), rtol=1e-5, atol=1e-30)


@given(EVENTS, EVENTS)
@settings(max_examples=100, deadline=None)
def test_many_events_at_once_count_as_one_by_one(first: list[tuple[int, int]], then: list[tuple[int, int]]) -> None:
    bulk = ItemTrends(N_ITEMS, TrendSettings())
    for events in (first, then):
        rows, times_ms = zip(*events, strict=True)
        bulk.observe_many(np.array(rows, np.int32), np.array(times_ms, np.int64))
    single = trends_of(first + then)
    np.testing.assert_allclose(bulk.counts(every()), single.counts(every()), rtol=1e-5, atol=1e-30)
    assert bulk.first_seen_ms.tolist() == single.first_seen_ms.tolist()
    assert bulk.latest_ms == single.latest_ms


def test_an_event_is_worth_half_after_a_half_life() -> None:
    trends = trends_of([(0, NOW_MS), (1, NOW_MS + DAY_MS)])
    assert trends.counts(np.array([0, 1, 2], np.int32))[:, 1].tolist() == [0.5, 1.0, 0.0]


def test_an_event_that_comes_late_counts_what_is_left_of_it() -> None:
    late = trends_of([(1, NOW_MS + 1_000 * DAY_MS), (0, NOW_MS + 993 * DAY_MS)])
    assert late.counts(np.array([0], np.int32))[0, 2] == 0.5
    assert late.latest_ms == NOW_MS + 1_000 * DAY_MS


def test_the_first_sight_of_an_item_is_its_earliest_event() -> None:
    trends = trends_of([(0, NOW_MS + 5), (0, NOW_MS), (0, NOW_MS + 9)])
    assert trends.first_seen_ms[0] == NOW_MS
    assert trends.first_seen_ms[1] == np.iinfo(np.int64).max


def test_no_event_moves_nothing() -> None:
    trends = ItemTrends(3, TrendSettings())
    trends.observe_many(np.empty(0, np.int32), np.empty(0, np.int64))
    assert (trends.latest_ms, len(trends.popular())) == (0, 0)
    assert trends.counts(every(3)).tolist() == [[0.0] * 3] * 3


@given(EVENTS, st.lists(st.booleans(), min_size=40, max_size=40))
@settings(max_examples=200, deadline=None)
def test_the_top_is_a_full_sort_whenever_it_is_asked_for(events: list[tuple[int, int]], asked: list[bool]) -> None:
    trends = ItemTrends(N_ITEMS, TrendSettings())
    seen: set[int] = set()
    for (row, timestamp_ms), now in zip(events, asked, strict=False):
        trends.observe(row, timestamp_ms)
        seen.add(row)
        if now:
            assert_top_is_full_sort(trends, seen)
    assert_top_is_full_sort(trends, {row for row, _ in events})


def assert_top_is_full_sort(trends: ItemTrends, seen: set[int]) -> None:
    kept = KeptArrays()
    trends.save(kept.add_array)
    weights = kept.array("trends.weights")[:, 1]
    assert trends.popular().tolist() == sorted(seen, key=lambda row: (-weights[row], row))[:2_000]


def test_of_more_items_than_are_kept_ready_the_top_holds_the_most_popular() -> None:
    generator = np.random.default_rng(5)
    trends, seen = ItemTrends(5_000, TrendSettings()), set[int]()
    for step in range(30):
        rows = generator.integers(0, 5_000, 400).astype(np.int32)
        times_ms = NOW_MS + step * 9 * HOUR_MS + generator.integers(0, HOUR_MS, 400)
        trends.observe_many(rows, times_ms)
        trends.observe(int(rows[0]), int(times_ms.max()))
        seen.update(rows.tolist())
        assert_top_is_full_sort(trends, seen)
    assert len(trends.popular()) == 2_000


def test_ties_go_to_the_lower_row_also_against_items_that_were_there_before() -> None:
    trends = trends_of([(7, NOW_MS), (3, NOW_MS)])
    assert trends.popular().tolist() == [3, 7]
    trends.observe(5, NOW_MS)
    trends.observe(1, NOW_MS)
    assert trends.popular().tolist() == [1, 3, 5, 7]
    assert trends.popular() is trends.popular()


@pytest.mark.parametrize(("half_life", "first"), [(0, 1), (2, 0)])
def test_popularity_follows_the_half_life_of_the_settings(half_life: int, first: int) -> None:
    events = [(0, NOW_MS)] * 3 + [(1, NOW_MS + 12 * HOUR_MS)]
    assert trends_of(events, popular_half_life=half_life).popular()[0] == first


@given(EVENTS, EVENTS)
@settings(max_examples=50, deadline=None)
def test_what_was_saved_goes_on_as_if_nothing_had_happened(
    before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    trends, kept = trends_of(before), KeptArrays()
    trends.save(kept.add_array)
    loaded = trends_of([(0, NOW_MS + 9_999 * DAY_MS)])
    loaded.load(kept.array)
    for row, timestamp_ms in after:
        trends.observe(row, timestamp_ms)
        loaded.observe(row, timestamp_ms)
    assert loaded.counts(every()).tolist() == trends.counts(every()).tolist()
    assert loaded.popular().tolist() == trends.popular().tolist()
    assert loaded.first_seen_ms.tolist() == trends.first_seen_ms.tolist()
    assert loaded.latest_ms == trends.latest_ms


def test_nothing_is_missed_when_others_ask_while_one_observes() -> None:
    trends = ItemTrends(3_000, TrendSettings())
    done, failures = threading.Event(), list[BaseException]()

    def ask() -> None:
        try:
            while not done.is_set():
                top = trends.popular()
                assert len(set(top.tolist())) == len(top)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    rows = np.random.default_rng(0).integers(0, 3_000, 8_000).tolist()
    for step, row in enumerate(rows):
        trends.observe(row, NOW_MS + step * HOUR_MS // 10)
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert_top_is_full_sort(trends, set(rows))
