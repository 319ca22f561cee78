"""Trends and covisits together: who is where, and what counts as the next item."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.state.kept_arrays import KeptArrays
from upnext.settings import Settings, StateSettings, TrendSettings
from upnext.state.context_trends import Context
from upnext.state.crowd import Crowd

N_ITEMS = 6
GAP_MS = 1_000
NOW_MS = 1_700_000_000_000
TRENDS = TrendSettings(covisit_width=N_ITEMS, contexts=("device", "region"), context_values=2)
SETTINGS = Settings(state=StateSettings(session_gap_ms=GAP_MS), trends=TRENDS)
CONTEXTS = [(), (21, 0), (0, 31), (22, 31), (23, 32)]  # keys of device and region; the third of a name is one too many
Event = tuple[int, int, int, int, Context]  # visitor, session, row, time
VISITORS = (5, 2**64 - 1, 7)


def _in_time(events: list[Event]) -> list[Event]:
    times_ms = np.cumsum([event[3] for event in events]).tolist()
    return [(*event[:3], NOW_MS + time_ms, *event[4:]) for event, time_ms in zip(events, times_ms, strict=True)]


STREAMS = st.lists(
    st.tuples(
        st.sampled_from(VISITORS),
        st.sampled_from([0, 0, 11, 2**63 + 1]),
        st.integers(0, N_ITEMS - 1),
        st.sampled_from([0, 1, GAP_MS // 3, GAP_MS, GAP_MS + 1, 5 * GAP_MS]),
        st.sampled_from(CONTEXTS),
    ),
    min_size=1,
    max_size=40,
).map(_in_time)


def one_by_one(events: list[Event], crowd: Crowd | None = None) -> Crowd:
    crowd = crowd or Crowd(N_ITEMS, SETTINGS)
    for event in events:
        crowd.observe(*event)
    return crowd


def at_once(events: list[Event]) -> Crowd:
    crowd = Crowd(N_ITEMS, SETTINGS)
    visitors, sessions, rows, times_ms = ([event[place] for event in events] for place in range(4))
    keys = [0, 31, 32, 22, 21, 23]
    told = [[keys.index(key) for key in ((*event[4:], ())[0] or (0, 0))] for event in events]
    crowd.observe_history(
        np.array(visitors, np.uint64), np.array(sessions, np.uint64), np.array(rows, np.int32),
        np.array(times_ms, np.int64), np.array(told, np.int32), np.array(keys, np.uint64),
    )  # fmt: skip
    return crowd


def followers(crowd: Crowd, row: int) -> dict[int, float]:
    rows, scores = crowd.covisits.after(np.array([row], np.int32), np.ones(1, np.float32))
    return {row: round(score, 4) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)}


def assert_same(one: Crowd, other: Crowd) -> None:
    every = np.arange(N_ITEMS, dtype=np.int32)
    np.testing.assert_allclose(one.trends.counts(every), other.trends.counts(every), rtol=1e-5)
    for context in CONTEXTS:
        np.testing.assert_allclose(
            one.contexts.shares(context, every), other.contexts.shares(context, every), rtol=1e-5
        )
        assert one.contexts.top(context, 3).tolist() == other.contexts.top(context, 3).tolist()
    assert [one.context_of(visitor) for visitor in VISITORS] == [other.context_of(visitor) for visitor in VISITORS]
    for row in range(N_ITEMS):
        assert followers(one, row) == followers(other, row)


@given(STREAMS, STREAMS)
@settings(max_examples=200, deadline=None)
def test_a_history_at_once_is_the_same_as_one_by_one(history: list[Event], then: list[Event]) -> None:
    single, bulk = one_by_one(history), at_once(history)
    assert_same(single, bulk)
    later = [(*event[:3], event[3] - NOW_MS + history[-1][3], event[4]) for event in then]
    assert_same(one_by_one(later, single), one_by_one(later, bulk))


def test_the_next_item_of_a_named_session_follows_however_late() -> None:
    crowd = one_by_one([(5, 11, 0, NOW_MS), (5, 11, 1, NOW_MS + 9 * GAP_MS), (5, 12, 2, NOW_MS + 9 * GAP_MS)])
    assert followers(crowd, 0) == {1: 1.0}
    assert followers(crowd, 1) == {}, "another session"


def test_without_sessions_a_pause_ends_the_visit() -> None:
    crowd = one_by_one([(5, 0, 0, NOW_MS), (5, 0, 1, NOW_MS + GAP_MS), (5, 0, 2, NOW_MS + 2 * GAP_MS + 1)])
    assert followers(crowd, 0) == {1: 1.0}
    assert followers(crowd, 1) == {}


def test_an_item_does_not_follow_itself_but_what_came_before_does() -> None:
    crowd = one_by_one([(5, 0, row, NOW_MS) for row in (0, 0, 1, 0)])
    assert followers(crowd, 0) == {1: 1.0}
    assert followers(crowd, 1) == {0: 1.0}


def test_items_of_different_visitors_do_not_follow_each_other() -> None:
    crowd = one_by_one([(5, 0, 0, NOW_MS), (7, 0, 1, NOW_MS), (5, 0, 2, NOW_MS)])
    assert followers(crowd, 0) == {2: 1.0}
    assert followers(crowd, 1) == {}


def test_past_the_most_visitors_the_longest_idle_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upnext.state.crowd._MOST_VISITORS", 2)
    moves = [(5, 0), (7, 1), (5, 2), (9, 3)]  # 7 is idle the longest when 9 comes
    for start in (one_by_one, at_once):
        crowd = start([(visitor, 0, row, NOW_MS) for visitor, row in moves])
        one_by_one([(5, 0, 4, NOW_MS), (7, 0, 4, NOW_MS)], crowd)
        assert followers(crowd, 2) == {4: 1.0}
        assert followers(crowd, 1) == {}


def test_no_history_leaves_the_crowd_empty() -> None:
    empty = np.empty(0, np.uint64)
    crowd = Crowd(N_ITEMS, SETTINGS)
    crowd.observe_history(empty, empty, np.empty(0, np.int32), np.empty(0, np.int64))
    assert len(crowd.trends.popular()) == 0


def test_a_crowd_that_was_saved_counts_on_but_knows_nobody() -> None:
    kept = KeptArrays()
    one_by_one([(5, 0, 0, NOW_MS), (5, 0, 1, NOW_MS)]).save(kept.add_array)
    loaded = one_by_one([(7, 0, 3, NOW_MS)])
    loaded.load(kept.array)
    for visitor in (5, 7):
        loaded.observe(visitor, 0, 2, NOW_MS)
    assert followers(loaded, 0) == {1: 1.0}
    assert followers(loaded, 1) == followers(loaded, 3) == {}
    assert loaded.trends.popular().tolist() == [2, 0, 1]


def test_a_crowd_with_more_items_than_were_saved_knows_nothing_of_the_last_ones_yet() -> None:
    kept, small = KeptArrays(), Crowd(N_ITEMS, SETTINGS)
    for row in (1, 2, 1):
        small.observe(7, 0, row, NOW_MS)
    small.save(kept.add_array)
    crowd = Crowd(N_ITEMS + 3, SETTINGS)
    crowd.trends.observe(N_ITEMS + 1, NOW_MS)
    crowd.load(kept.array)
    every = np.arange(N_ITEMS + 3)
    np.testing.assert_array_equal(crowd.trends.counts(every[:N_ITEMS]), small.trends.counts(every[:N_ITEMS]))
    assert not crowd.trends.counts(every[N_ITEMS:]).any()
    assert crowd.trends.popular().tolist() == [1, 2]
    crowd.observe(7, 0, 1, NOW_MS)
    crowd.observe(7, 0, N_ITEMS + 2, NOW_MS)
    assert crowd.trends.popular().tolist() == [1, 2, N_ITEMS + 2]
    assert sorted(crowd.covisits.after_one(1)[0].tolist()) == [2, N_ITEMS + 2]
    assert crowd.trends.first_seen_ms[N_ITEMS:].tolist() == [np.iinfo(np.int64).max] * 2 + [NOW_MS]


@given(STREAMS, st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_in_batches_the_crowd_comes_to_what_it_comes_to_one_by_one(events: list[Event], size: int) -> None:
    batched = Crowd(N_ITEMS, SETTINGS)
    for begin in range(0, len(events), size):
        batched.observe_batch(events[begin : begin + size])
    batched.observe_batch([])
    assert_same(batched, one_by_one(events))
