"""One event, one step."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.state.stepping import CountingStepper, event
from upnext.domain.event import ACTION_CODE, ACTIONS, INTERACTIONS
from upnext.domain.identity import key_of
from upnext.settings import StateSettings
from upnext.state.advance import advance, due_steps, stepped
from upnext.state.step_input import Remembered
from upnext.state.user_state import PackedState, UserState, UserVectors

SETTINGS = StateSettings(recent_events=4, seen_items=6)
EMPTY = UserState()


def advanced_state(state: UserState, event: object, settings: StateSettings) -> UserState:
    moved = PackedState.unpack(state.pack())
    step = advance(moved, event, settings)
    after = UserState.unpack(moved.pack())
    if after.n_interactions > state.n_interactions:
        assert step is not None
        assert step.item_key == int(after.recent_keys[-1])
    return after


def advanced_vectors(
    vectors: UserVectors | None, before: UserState, after: UserState, stepper: CountingStepper
) -> UserVectors:
    n_new = after.n_interactions - before.n_interactions
    new = remembered(after).steps(n_new, SETTINGS)
    due = due_steps(vectors, after.state_version, after.n_interactions, remembered(before), new, SETTINGS)
    return stepped([due], stepper)[0]


def remembered(state: UserState) -> Remembered:
    arrays = (state.recent_keys, state.recent_ms, state.recent_actions, state.recent_values)
    return Remembered(state.n_interactions, *arrays)


def states_after(*events: object) -> list[UserState]:
    states = [EMPTY]
    for each in events:
        states.append(advanced_state(states[-1], each, SETTINGS))
    return states


def test_an_interaction_is_remembered() -> None:
    state = advanced_state(EMPTY, event(3, "play", 1_500, session_id="s"), SETTINGS)
    assert (state.state_version, state.n_interactions, state.last_ms) == (1, 1, 1_500)
    assert state.session_key == key_of("s")
    assert state.recent_keys.tolist() == state.seen.tolist() == [key_of("i3")]
    assert (state.recent_ms.tolist(), state.recent_actions.tolist()) == ([1_500], [ACTION_CODE["play"]])
    assert np.isnan(state.recent_values).tolist() == [True]
    arrays = (state.recent_keys, state.recent_ms, state.recent_actions, state.recent_values, state.seen)
    assert [array.dtype for array in arrays] == [np.uint64, np.int64, np.uint8, np.float32, np.uint64]
    assert EMPTY.state_version == len(EMPTY.recent_keys) == 0, "the state before is left alone"


def test_only_the_newest_interactions_are_kept_in_full() -> None:
    state = states_after(*(event(number, ms=1_000 + number) for number in range(6)))[-1]
    assert state.recent_keys.tolist() == [key_of(f"i{number}") for number in (2, 3, 4, 5)]
    assert state.recent_ms.tolist() == [1_002, 1_003, 1_004, 1_005]
    assert (state.n_interactions, len(state.recent_actions)) == (6, 4)


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - INTERACTIONS - {"dislike"}))
def test_other_activity_counts_as_a_version_and_no_more(action: str) -> None:
    before, after = states_after(event(1), event(2, action, 3_000))[1:]
    assert (after.state_version, after.n_interactions, after.last_ms) == (2, 1, 3_000)
    assert after.recent_keys.tolist() == after.seen.tolist() == before.seen.tolist()


def test_a_disliked_item_counts_as_seen_but_not_as_chosen() -> None:
    after = states_after(event(1), event(2, "dislike", 3_000))[-1]
    assert (after.state_version, after.n_interactions, after.last_ms) == (2, 1, 3_000)
    assert after.recent_keys.tolist() == [key_of("i1")]
    assert after.seen.tolist() == sorted([key_of("i1"), key_of("i2")])


def test_a_late_event_does_not_turn_back_the_time_of_the_latest() -> None:
    assert states_after(event(1, ms=5_000), event(2, ms=3_000))[-1].last_ms == 5_000


def test_an_event_without_session_leaves_the_session() -> None:
    assert states_after(event(1, session_id="s"), event(2), event(None, "search"))[-1].session_key == key_of("s")


@given(st.lists(st.integers(0, 12), max_size=40), st.integers(1, 8))
def test_seen_items_stay_sorted_distinct_and_bounded_with_the_newest_among_them(items: list[int], most: int) -> None:
    state, settings = EMPTY, StateSettings(recent_events=3, seen_items=most)
    for number in items:
        seen_before = set(state.seen.tolist())
        state = advanced_state(state, event(number), settings)
        seen = state.seen.tolist()
        assert seen == sorted(set(seen))
        assert len(seen) <= most
        assert key_of(f"i{number}") in seen
        assert set(seen) <= seen_before | {key_of(f"i{number}")}
        assert len(seen) >= min(most, len(seen_before))


@given(st.permutations(range(8)))
def test_with_room_every_item_ever_chosen_is_seen(items: list[int]) -> None:
    state = EMPTY
    for number in items:
        state = advanced_state(state, event(number), StateSettings(recent_events=1, seen_items=8))
    assert state.seen.tolist() == sorted(key_of(f"i{number}") for number in range(8))


def test_each_interaction_is_exactly_one_step_whatever_came_before() -> None:
    stepper, vectors = CountingStepper(), None
    states = states_after(*(event(number) for number in range(7)))
    for before, after in itertools.pairwise(states):
        taken = stepper.steps
        vectors = advanced_vectors(vectors, before, after, stepper)
        assert stepper.steps == taken + 1
    assert vectors is not None
    assert vectors.hidden.tolist() == list(range(7)), "more than the recent items kept in full"
    assert (vectors.session_vector.tolist(), vectors.state_version) == ([21, 7], 7)


@pytest.mark.parametrize("action", ["dislike", "hover", "search"])
def test_hints_are_no_steps_for_vectors_that_lag(action: str) -> None:
    stepper, states = CountingStepper(), states_after(event(1), event(2, action))
    vectors = advanced_vectors(None, states[0], states[1], stepper)
    after = advanced_vectors(vectors, states[1], states[2], stepper)
    assert stepper.steps == 1
    assert (after.state_version, after.hidden.tolist()) == (2, [1])


@pytest.mark.parametrize("version", [0, 4, 9])
def test_vectors_of_another_version_are_made_anew_from_the_recent_items(version: int) -> None:
    states = states_after(*(event(number) for number in range(6)))
    user_vector = np.ones(3, np.float32)
    stale = UserVectors(version, np.ones(2, np.float32), user_vector, np.full(1, 99, np.float32))
    vectors = advanced_vectors(stale, states[5], states[6], CountingStepper())
    assert vectors.hidden.tolist() == [1, 2, 3, 4, 5], "those before in full, and the new one"
    assert vectors.state_version == 6
    assert vectors.user_vector is user_vector, "made in batch, carried along"


def test_an_item_that_the_encoder_does_not_know_changes_no_vector() -> None:
    states = states_after(event(1), event("?"), event(2))
    vectors, stepper = None, CountingStepper()
    for before, after in itertools.pairwise(states):
        vectors = advanced_vectors(vectors, before, after, stepper)
    assert vectors is not None
    assert (vectors.hidden.tolist(), vectors.state_version) == ([1, 2], 3)


def test_of_a_user_with_unknown_items_only_there_is_no_vector() -> None:
    states = states_after(event("?"), event("??"))
    vectors = advanced_vectors(None, states[1], states[2], CountingStepper())
    assert (len(vectors.session_vector), len(vectors.hidden), vectors.state_version) == (0, 0, 2)


def test_users_of_unequal_length_are_stepped_side_by_side_as_they_would_be_alone() -> None:
    histories = [[1, 2, 3], [], [4], ["?", 5]]
    lasts = [states_after(*map(event, history))[-1] for history in histories]
    together = CountingStepper()
    vectors = stepped(
        [due_steps(None, last.state_version, last.n_interactions, remembered(last), [], SETTINGS) for last in lasts],
        together,
    )
    assert [each.hidden.tolist() for each in vectors] == [[1, 2, 3], [], [4], [5]]
    assert [each.state_version for each in vectors] == [3, 0, 1, 2]
    assert together.steps == 6
