"""A replay shows a user as serving would, and a world with a known best next item is ranked accordingly."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.funnel.fakes import World
from upnext.clock import Deadline
from upnext.domain.event import ACTION_CODE, INTERACTIONS, Event
from upnext.domain.identity import key_of, keys_of
from upnext.features.item_vectors import ItemVectors
from upnext.features.spec import CROSS, SOURCE_BIT
from upnext.features.user_view import UserView
from upnext.funnel.replay import Histories, Replay
from upnext.settings import Settings, StateSettings
from upnext.state.apply import apply_events, read_user
from upnext.state.step_input import StepInput
from upnext.store.memory_store import MemoryStore

N_ITEMS, DIM = 40, 4
FEW_RECENT = StateSettings(recent_events=6)
VISITORS = [f"u:{name}" for name in ("ann", "bob")]


class CountingStepper:
    """Hidden state: how many known items there were, and what they were; knows every item but those of `unknown`."""

    encoders = "counting"

    def __init__(self, catalog, unknown=frozenset()) -> None:
        self._catalog = catalog
        self._unknown = unknown

    def step(self, hidden, inputs):
        keys = np.array([one.item_key for one in inputs], np.uint64)
        return self.step_rows(hidden, self._catalog.rows_of(keys).tolist(), inputs)

    def step_rows(self, hidden, rows, inputs):
        return [self.step_row(*each) for each in zip(hidden, rows, inputs, strict=True)]

    def step_row(self, hidden, row, one):
        if row < 0 or row in self._unknown:
            return None
        row += 40 * one.action + one.gap_ms % 17 + (0 if math.isnan(one.value) else one.value)
        n, order = (hidden[0] + 1, hidden[1] * 3 + row) if len(hidden) else (1, row)
        return np.array([n, order % 1009], np.float32), np.array([n, order % 1009, row, 1], np.float32)


def fields(view: UserView) -> dict[str, object]:
    return {
        "n_interactions": view.n_interactions,
        "last_ms": view.last_ms,
        "recent": view.recent_rows.tolist(),
        "before_session": view.n_before_session,
        "seen": sorted(view.seen_rows.tolist()),
        "user_vector": view.user_vector.tolist(),
        "session_vector": view.session_vector.tolist(),
        "state_version": view.state_version,
        "n_moves": view.n_moves,
    }


WEIGHED = StateSettings(recent_events=6, session_gap_ms=20_000, action_weights={"view": 0.5, "like": 0.0})
choices = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, N_ITEMS - 1), st.integers(0, 90_000),
        st.sampled_from(sorted(INTERACTIONS)), st.none() | st.integers(0, 5),
    ),
    max_size=20,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(choices, st.integers(0, 8), st.sampled_from([FEW_RECENT, WEIGHED]))
def test_the_view_after_events_is_the_one_that_serving_would_have(listed, together, few):
    world, store = World(N_ITEMS, dim=DIM), MemoryStore()
    stepper, never = CountingStepper(world.catalog, unknown={3, 4, 5}), Deadline.never(world.clock)
    replay = Replay(world.funnel(), stepper, keys_of(VISITORS), few)
    events = [
        Event(
            event_id=f"{at}", action=action, timestamp_ms=10**6 + ms, user_id=VISITORS[user][2:], item_id=f"{row}",
            value=value,
        )
        for at, (user, row, ms, action, value) in enumerate(listed)
    ]  # fmt: skip
    apply_events(list(enumerate(events[:together], 1)), store, stepper, few, never)
    for number, event in enumerate(events[together:], together + 1):
        apply_events([(number, event)], store, stepper, few, never)
    for (user, row, _, action, value), event in zip(listed, events, strict=True):
        measured = math.nan if value is None else value
        replay.observe(user, 0, row, event.timestamp_ms, action=ACTION_CODE[action], value=measured)
    for user, subject in enumerate(VISITORS):
        served = UserView.of(*read_user(subject, store, stepper, never), world.catalog, few.session_gap_ms)
        assert fields(replay.view(user)) == fields(served)


def test_the_crowd_of_a_replay_is_the_one_that_serving_would_have():
    world = World(N_ITEMS, dim=DIM)
    replay = Replay(world.funnel(), None, keys_of(VISITORS), FEW_RECENT)
    served = world.crowd(Settings())
    for user, row, at_ms in [(0, 1, 10), (1, 5, 20), (0, 2, 30), (1, 6, 40), (0, 2, 50)]:
        replay.observe(user, 0, row, at_ms, tracked=user == 0)
        served.observe(key_of(VISITORS[user]), 0, row, at_ms)
    crowd = replay.funnel.crowd
    assert crowd.trends.popular().tolist() == served.trends.popular().tolist() == [2, 6, 5, 1]
    one = np.ones(1, np.float32)
    for row in range(7):
        after = [each.tolist() for each in crowd.covisits.after(np.array([row], np.int32), one)]
        assert after == [each.tolist() for each in served.covisits.after(np.array([row], np.int32), one)]
    assert replay.view(1).n_interactions == 0


def histories(rows, slots, session_vectors, hidden) -> Histories:
    return Histories(
        offsets=np.array([0, len(rows), len(rows)], np.int64),
        rows=np.array(rows, np.int32),
        times_ms=np.arange(len(rows), dtype=np.int64),
        slots=np.array(slots, np.int32),
        session_vectors=np.array(session_vectors, np.float32),
        hidden=np.array(hidden, np.float32),
        user_vectors=np.ones((len(hidden), DIM), np.float32),
    )


def test_a_replay_goes_on_from_where_histories_leave_off():
    world = World(N_ITEMS, dim=DIM)
    stepper = CountingStepper(world.catalog)
    walked = Replay(world.funnel(), stepper, keys_of(VISITORS), FEW_RECENT)
    past = [1, 2, 3, 1, 9, 8, 7]
    hidden = session_vector = np.empty(0, np.float32)
    for at, row in enumerate(past):
        walked.observe(0, 0, row, at)
        hidden, session_vector = stepper.step_row(hidden, row, StepInput(gap_ms=min(at, 1) or -1))
    begun = Replay(world.funnel(), stepper, keys_of(VISITORS), FEW_RECENT)
    begun.begin(histories(past, [0, -1], [session_vector], [hidden]))
    for replay in (walked, begun):
        replay.observe(0, 0, 30, 100)
    assert fields(begun.view(0)) == fields(walked.view(0)) | {"user_vector": [1.0] * DIM}
    assert fields(begun.view(1)) == fields(UserView())


def test_beginning_again_forgets_what_was_observed():
    world = World(N_ITEMS, dim=DIM)
    replay = Replay(world.funnel(), CountingStepper(world.catalog), keys_of(VISITORS), FEW_RECENT)
    replay.observe(0, 0, 30, 100)
    replay.begin(histories([], [-1, -1], np.empty((0, DIM)), np.empty((0, 2))))
    assert fields(replay.view(0)) == fields(UserView())


class ChainStepper(CountingStepper):
    """Expects the next item of a chain: the session vector points at row + 1."""

    def __init__(self, catalog, table) -> None:
        super().__init__(catalog)
        self._table = table

    def step_row(self, hidden, row, one):
        return np.zeros(1, np.float32), self._table[(row + 1) % len(self._table), :-1]


class BySessionScore:
    """Trusts the session encoder alone, as the assembled features show it."""

    exits = ("only",)
    default_exit = "only"

    def score(self, rows, user, cross, exit_name):
        return cross[:, CROSS.index("session_score")]


@pytest.fixture
def chain() -> Replay:
    world = World(N_ITEMS, dim=N_ITEMS)
    world.session[:] = np.eye(N_ITEMS, N_ITEMS + 1)
    world.vectors = ItemVectors(session=world.session)
    funnel = world.funnel(ranker=BySessionScore(), popular=range(10))
    return Replay(funnel, ChainStepper(world.catalog, world.session), keys_of(VISITORS), StateSettings())


def test_the_known_best_next_item_is_ranked_first_at_every_stage(chain):
    for row in (5, 11, 20):
        chain.observe(0, 0, row, 1_000 + row)
        assert chain.ranked(0, 3)[0] == row + 1
        assert chain.slate(0, 10)[0] == row + 1
    view, signals, found = chain.retrieve(0)
    place = found.rows.tolist().index(21)
    assert found.sources[place] & SOURCE_BIT["session_vector"]
    assert view.recent_rows.tolist() == [5, 11, 20]
    assert signals.recent_rows.tolist() == [20, 11, 5]
    assert chain.retrieved(0, 7).tolist() == found.rows[:7].tolist()


def test_no_stage_shows_what_the_user_has_seen(chain):
    for row in (21, 20):
        chain.observe(0, 0, row, 1_000)
    for rows in (chain.retrieved(0, 40), chain.ranked(0, 40), chain.slate(0, 40)):
        assert len(rows) == N_ITEMS - 2
        assert not {20, 21} & set(rows.tolist())


def test_a_replay_of_users_without_a_stepper_still_moves_facts():
    world = World(N_ITEMS, dim=DIM)
    replay = Replay(world.funnel(popular=[7, 1]), None, keys_of(VISITORS), FEW_RECENT)
    replay.observe(1, 0, 7, 50)
    assert fields(replay.view(1)) == fields(UserView()) | {
        "n_interactions": 1, "last_ms": 50, "recent": [7], "seen": [7], "state_version": 1, "n_moves": 1,
    }  # fmt: skip
    assert 7 not in replay.retrieved(1, 40).tolist()
    assert 7 in replay.retrieved(0, 40).tolist()
