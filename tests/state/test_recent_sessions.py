"""The newest sessions: against a slow one that keeps them all, and what makes way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.state.kept_arrays import KeptArrays
from upnext.settings import Settings, TrendSettings
from upnext.state.crowd import Crowd
from upnext.state.recent_sessions import _WIDTH, RecentSessions

N_ITEMS = 15
WIDE = TrendSettings(sessions_per_item=4)
EVENTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, N_ITEMS - 1)), max_size=60)
ONE = np.ones(1, np.float32)


def like(sessions: RecentSessions, *rows: int, weights=None) -> dict[int, float]:
    weights = np.ones(len(rows), np.float32) if weights is None else np.array(weights, np.float32)
    found, scores = sessions.like(np.array(rows, np.int32), weights)
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    return {row: round(float(score), 4) for row, score in zip(found.tolist(), scores.tolist(), strict=True)}


def told(events, trends: TrendSettings = WIDE) -> RecentSessions:
    sessions, numbers = RecentSessions(N_ITEMS, trends), {}
    for name, row in events:
        numbers[name] = sessions.add(numbers.get(name, 0), row)
    return sessions


def slowly(events, row: int) -> dict[int, float]:
    """What the four sessions that `row` came into last held, by counting."""
    held: dict[int, list[int]] = {}
    visits: dict[int, list[int]] = {}
    for name, item in events:
        items = held.setdefault(name, [])
        if item not in items[-_WIDTH:]:
            items.append(item)
            visits.setdefault(item, []).append(name)
    newest = visits.get(row, [])[-4:]
    counts: dict[int, float] = {}
    for name in newest:
        for item in held[name][-_WIDTH:]:
            if item != row:
                counts[item] = counts.get(item, 0) + 1
    return {item: round(count / len(newest), 4) for item, count in counts.items()}


@given(EVENTS)
@settings(max_examples=200, deadline=None)
def test_the_sessions_with_an_item_vote_for_what_else_they_held(events) -> None:
    sessions = told(events)
    for row in range(N_ITEMS):
        assert like(sessions, row) == slowly(events, row)


@given(EVENTS, EVENTS)
@settings(max_examples=200, deadline=None)
def test_a_history_at_once_is_the_same_as_one_by_one(history, then) -> None:
    bulk, single = RecentSessions(N_ITEMS, WIDE), RecentSessions(N_ITEMS, WIDE)
    names = list(dict.fromkeys(name for name, _ in history))
    numbered = np.array([names.index(name) for name, _ in history], np.int64)
    numbers = bulk.add_many(numbered, np.array([row for _, row in history], np.int32))
    ours = {name: int(number) for (name, _), number in zip(history, numbers, strict=True)}
    theirs: dict[int, int] = {}
    for name, row in history:
        theirs[name] = single.add(theirs.get(name, 0), row)
    assert ours == theirs
    for name, row in then:
        ours[name], theirs[name] = bulk.add(ours.get(name, 0), row), single.add(theirs.get(name, 0), row)
    for row in range(N_ITEMS):
        assert like(bulk, row) == like(single, row)


def test_several_items_vote_by_their_weights_and_are_not_answers_themselves() -> None:
    sessions = told([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 2), (2, 4)])
    assert like(sessions, 1, 2, weights=[1.0, 0.5]) == {3: round(1 + 0.5 * 2 / 3, 4), 4: round(0.5 / 3, 4)}


def test_nothing_is_known_of_an_item_that_nobody_chose() -> None:
    assert like(told([(0, 1), (0, 2)]), 5) == {}
    assert like(RecentSessions(N_ITEMS, WIDE), 0, 1) == {}


def small(n_sessions: int) -> TrendSettings:
    """Room for so many sessions."""
    return TrendSettings(sessions_per_item=10, sessions_bytes=n_sessions * 4 * 44)


def test_the_oldest_session_makes_way_and_is_not_confused_with_the_one_in_its_place() -> None:
    settings = small(100)
    sessions = RecentSessions(N_ITEMS, settings)
    first = sessions.add(0, 1)
    sessions.add(first, 2)
    for _ in range(99):
        sessions.add(sessions.add(0, 3), 4)
    assert like(sessions, 1) == {2: 1.0}
    sessions.add(0, 5)
    assert like(sessions, 1) == {}
    assert sessions.add(first, 1) != first, "forgotten, so a new one begins"


def test_where_there_is_no_room_for_all_items_one_not_visited_for_long_makes_way() -> None:
    settings = TrendSettings(sessions_per_item=10, sessions_bytes=10 * 4 * 44)
    sessions = RecentSessions(50, settings)
    n_slots = sessions._most_slots
    assert n_slots < 50
    for row in range(50):
        sessions.add(sessions.add(0, row), (row + 1) % 50)
    assert sum(bool(like(sessions, row)) for row in range(50)) <= n_slots
    assert like(sessions, 48) or like(sessions, 49)


@given(EVENTS, EVENTS)
@settings(max_examples=100, deadline=None)
def test_what_was_saved_goes_on_after_loading(history, then) -> None:
    before, kept = told(history), KeptArrays()
    before.save(kept.add_array)
    after = RecentSessions(N_ITEMS + 2, WIDE)
    after.add(0, 3)
    after.load(kept.array)
    for name, row in then:
        assert before.add(name, row) == after.add(name, row)
    for row in range(N_ITEMS):
        assert like(before, row) == like(after, row)


def test_saved_rows_may_stand_elsewhere_or_be_gone() -> None:
    kept = KeptArrays()
    told([(0, 1), (0, 2), (0, 3)]).save(kept.add_array)
    moved = np.arange(N_ITEMS, dtype=np.int32)
    moved[[1, 2]] = 9, -1
    sessions = RecentSessions(N_ITEMS, WIDE)
    sessions.load(kept.array, moved)
    assert like(sessions, 9) == {3: 1.0}
    assert like(sessions, 1) == like(sessions, 2) == {}


def test_with_less_room_the_newest_sessions_are_loaded() -> None:
    kept = KeptArrays()
    wide = RecentSessions(N_ITEMS, TrendSettings())
    for row in (1, 5, 9):
        for _ in range(100):
            wide.add(wide.add(0, row), row + 1)
    wide.save(kept.add_array)
    sessions = RecentSessions(N_ITEMS, small(150))
    sessions.load(kept.array)
    assert like(sessions, 1) == {}
    assert like(sessions, 5) == {6: 1.0}
    assert like(sessions, 9) == {10: 1.0}
    assert sessions.next_number == 301


@pytest.mark.parametrize("at_once", [True, False])
def test_the_crowd_knows_which_events_are_of_one_session(at_once: bool) -> None:
    crowd = Crowd(N_ITEMS, Settings())
    events = [(5, 11, 0, 10), (7, 0, 1, 20), (5, 11, 2, 30), (7, 0, 3, 40), (5, 12, 4, 50), (7, 0, 5, 10**9)]
    if at_once:
        visitors, names, rows, times_ms = (np.array(column, np.int64) for column in zip(*events, strict=True))
        crowd.observe_history(visitors.astype(np.uint64), names.astype(np.uint64), rows.astype(np.int32), times_ms)
    else:
        for event in events:
            crowd.observe(*event)
    assert crowd.sessions is not None
    assert like(crowd.sessions, 0) == {2: 1.0}
    assert like(crowd.sessions, 3) == {1: 1.0}
    assert like(crowd.sessions, 4) == like(crowd.sessions, 5) == {}
    crowd.observe(5, 12, 6, 60)
    assert like(crowd.sessions, 6) == {4: 1.0}
