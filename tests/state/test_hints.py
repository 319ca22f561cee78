"""Hovers, searches and dislikes: a part of a step, at once or never; interactions each exactly once all the same."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.state.stepping import AddingStepper, event
from upnext.clock import Deadline, ManualClock
from upnext.domain.event import Event
from upnext.domain.identity import key_of
from upnext.settings import StateSettings
from upnext.state.advance import SessionStepper, part_of_step
from upnext.state.apply import Healed, apply_events, put_back, read_user
from upnext.state.guarded_stepper import NoStep
from upnext.state.step_input import StepInput
from upnext.state.user_state import UserState, UserVectors
from upnext.store.memory_store import MemoryStore

NEVER = Deadline.never(ManualClock())
SETTINGS = StateSettings(recent_events=30)
FLOATS = st.floats(-100, 100, width=32)
VECTORS = st.lists(FLOATS, min_size=4, max_size=4).map(lambda values: np.array(values, np.float32))


def after(*events: Event, settings: StateSettings = SETTINGS) -> tuple[UserState, UserVectors]:
    """One by one, each applied at once."""
    store, stepper = MemoryStore(ManualClock()), AddingStepper()
    for number, each in enumerate(events, 1):
        apply_events([(number, each)], store, stepper, settings, NEVER)
    state, vectors = read_user("u:u", store, stepper, NEVER)
    assert vectors is not None
    assert vectors.state_version == state.state_version
    return state, vectors


def moved(vectors: UserVectors) -> list[float]:
    return [*vectors.hidden.tolist(), *vectors.session_vector.tolist()]


def test_a_whole_step_is_the_encoders_own_to_the_bit() -> None:
    step = np.array([0.1], np.float32), np.array([0.3], np.float32)
    assert part_of_step(np.array([0.7], np.float32), np.array([0.9], np.float32), step, 1.0) is step


def test_a_hover_goes_a_quarter_of_the_way() -> None:
    assert moved(after(event(4), event(8, "hover"))[1]) == [4 + 2, 8 + 4]


def test_a_dislike_leads_away_from_where_choosing_would_have_led() -> None:
    assert moved(after(event(4), event(2, "dislike"))[1]) == [4 - 1, 8 - 2]


def test_without_history_a_hint_begins_at_zero_and_a_choice_goes_on_from_there() -> None:
    assert moved(after(event(8, "hover"))[1]) == [2, 4]
    assert moved(after(event(8, "hover"), event(3))[1]) == [5, 10]


@given(VECTORS, VECTORS)
def test_what_is_disliked_lies_less_in_the_direction_of_the_user_whatever_the_state(
    before: np.ndarray, item: np.ndarray
) -> None:
    """For an encoder that adds what is chosen."""
    found, _ = part_of_step(before, before, (before + item, before + item), -0.5)
    lengths = [float(np.linalg.norm(each)) for each in (before, item, found)]
    if min(lengths) > 1e-3:
        cosine_before, cosine = before @ item / (lengths[0] * lengths[1]), found @ item / (lengths[2] * lengths[1])
        assert cosine <= cosine_before + 1e-4


@given(VECTORS, VECTORS, st.floats(-1, 1))
def test_no_part_of_a_step_is_longer_than_where_it_began_and_where_a_whole_one_leads(
    before: np.ndarray, whole: np.ndarray, weight: float
) -> None:
    found, _ = part_of_step(before, before, (whole, whole), weight)
    assert np.linalg.norm(found) <= max(np.linalg.norm(before), np.linalg.norm(whole)) * 1.0001 + 1e-3
    assert found.dtype == np.float32


def test_many_dislikes_in_a_row_leave_numbers() -> None:
    _, vectors = after(event(4), *(event(number % 9, "dislike") for number in range(300)))
    assert np.isfinite(vectors.hidden).all()
    assert abs(vectors.hidden[0]) <= 4 + 9


@pytest.mark.parametrize(
    "hint", [event(2, "hover", 3_000), event(None, "search", 3_000, query="what"), event(2, "dislike")]
)
def test_a_hint_is_no_interaction_but_a_move(hint: Event) -> None:
    state, _ = after(event(1), hint)
    assert (state.state_version, state.n_interactions, state.n_moves) == (2, 1, 2)
    assert state.recent_keys.tolist() == [key_of("i1")]
    seen = {key_of("i1")} | ({key_of("i2")} if hint.action == "dislike" else set())
    assert set(state.seen.tolist()) == seen


@pytest.mark.parametrize("action", ["impression", "pause", "resume", "app_open"])
def test_mere_activity_moves_nothing(action: str) -> None:
    state, vectors = after(event(1), event(2, action))
    assert (state.n_moves, moved(vectors)) == (1, [1, 2])


def test_a_hint_that_weighs_nothing_is_mere_activity_and_a_dislike_is_seen_still() -> None:
    settings = StateSettings(action_weights={"hover": 0.0, "dislike": 0.0, "like": 0.0})
    state, vectors = after(event(1), event(2, "hover"), event(3, "dislike"), settings=settings)
    assert (state.n_moves, moved(vectors)) == (1, [1, 2])
    assert key_of("i3") in state.seen.tolist()
    state, vectors = after(event(1), event(2, "like"), settings=settings)
    assert (state.n_interactions, state.n_moves, moved(vectors)) == (2, 2, [1, 2])


class Reading(AddingStepper):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[StepInput] = []

    def step(self, hidden: Sequence[np.ndarray], inputs: Sequence[StepInput]) -> Any:
        self.inputs += inputs
        return super().step(hidden, inputs)


def test_gaps_are_between_interactions_and_the_same_at_once_and_when_made_up_for() -> None:
    events = [
        event(1, ms=1_000, value=2.0), event(2, "hover", 4_000), event(3, "play", 9_000), event(4, ms=8_000),
        event(5, "impression", 60_000), event(6, "dislike", 61_000), event(7, ms=62_000, value=1e300),
    ]  # fmt: skip
    store, at_once, later = MemoryStore(ManualClock()), Reading(), Reading()
    for number, each in enumerate(events, 1):
        apply_events([(number, each)], store, at_once, SETTINGS, NEVER)
    assert [one.gap_ms for one in at_once.inputs] == [-1, 3_000, 8_000, 0, 53_000, 54_000]
    bare = MemoryStore(ManualClock())
    apply_events(list(enumerate(events, 1)), bare, None, SETTINGS, NEVER)
    read_user("u:u", bare, later, NEVER)
    interactions = [one for one in at_once.inputs if one.weight == 1.0]
    as_told = [(one.item_key, one.action, one.gap_ms, repr(one.value)) for one in interactions]
    assert [(one.item_key, one.action, one.gap_ms, repr(one.value)) for one in later.inputs] == as_told
    assert np.isinf(later.inputs[-1].value), "beyond what is kept of a value"


def test_only_a_search_is_read_by_its_words() -> None:
    store, stepper = MemoryStore(ManualClock()), Reading()
    words = {"query": "night train"}
    events = [event(None, "search", **words), event(1, "click", **words), event(None, "search")]
    apply_events(list(enumerate(events, 1)), store, stepper, SETTINGS, NEVER)
    assert [(one.query, one.item_key) for one in stepper.inputs] == [("night train", 0), ("", key_of("i1"))]
    assert read_user("u:u", store, None, NEVER)[0].n_moves == 3


N_CHOSEN, N_HINTED = 5, 5  # items 0 … 4 are chosen, 5 … 9 only hovered


class Tally:
    """Adds one to the hidden state at the place of the item; fails when told to."""

    encoders = "tally"

    def __init__(self) -> None:
        self._place = {key_of(f"i{number}"): number for number in range(N_CHOSEN + N_HINTED)}
        self.fails = False

    def step(self, hidden: Sequence[np.ndarray], inputs: Sequence[StepInput]) -> list[tuple[np.ndarray, np.ndarray]]:
        if self.fails:
            raise NoStep("told to")
        after = [each.copy() if len(each) else np.zeros(N_CHOSEN + N_HINTED, np.float32) for each in hidden]
        for each, one in zip(after, inputs, strict=True):
            each[self._place[one.item_key]] += 1
        return [(each, each.copy()) for each in after]


ways = st.lists(
    st.tuples(
        st.lists(st.integers(0, N_CHOSEN + N_HINTED - 1), min_size=1, max_size=4),
        st.sampled_from(["at once", "without a stepper", "no step", "delivered twice"]),
        st.booleans(),
    ),
    max_size=7,
)


@given(ways)
def test_however_vectors_lag_each_interaction_is_one_step_and_no_hint_is_more_than_its_part(
    batches: list[tuple[list[int], str, bool]],
) -> None:
    store, tally, number = MemoryStore(ManualClock()), Tally(), 0
    told = np.zeros(N_CHOSEN + N_HINTED)
    for items, way, read in batches:
        numbered = [
            (number + at, event(item, "click" if item < N_CHOSEN else "hover")) for at, item in enumerate(items, 1)
        ]
        number += len(items)
        np.add.at(told, items, 1)
        tally.fails = way == "no step"
        stepper: SessionStepper | None = None if way == "without a stepper" else tally  # type: ignore[assignment]
        for _ in range(1 + (way == "delivered twice")):
            apply_events(numbered, store, stepper, SETTINGS, NEVER)
        if read:
            healed: list[Healed] = []
            read_user("u:u", store, tally, NEVER, healed.append)  # type: ignore[arg-type]
            put_back(healed, store, NEVER)
    tally.fails = False
    _, vectors = read_user("u:u", store, tally, NEVER)  # type: ignore[arg-type]
    found = np.zeros(N_CHOSEN + N_HINTED) if vectors is None or not len(vectors.hidden) else vectors.hidden
    np.testing.assert_array_equal(found[:N_CHOSEN], told[:N_CHOSEN])
    assert (found[N_CHOSEN:] <= 0.25 * told[N_CHOSEN:]).all()
    if all(way in ("at once", "delivered twice") for _, way, _ in batches):
        np.testing.assert_array_equal(found[N_CHOSEN:], 0.25 * told[N_CHOSEN:])
