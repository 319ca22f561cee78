"""What a training puts into the store of every user is what applying the log event by event would have put there."""

import numpy as np

from tests.conftest import TINY_WORLD_NOW_MS, TrainedHome
from upnext.cli.home import opened_home
from upnext.clock import Deadline, ManualClock
from upnext.domain.event import HINTS
from upnext.domain.identity import subject_of
from upnext.funnel.live import Live, open_live
from upnext.release.releases import Releases
from upnext.settings import Settings
from upnext.state.apply import apply_events, read_user
from upnext.state.user_state import UserState
from upnext.store.memory_store import MemoryStore

CLOCK = ManualClock(TINY_WORLD_NOW_MS)
NEVER = Deadline.never(CLOCK)
ARRAYS = ("recent_keys", "recent_ms", "recent_actions", "recent_values", "seen")
NUMBERS = ("state_version", "n_interactions", "n_moves", "last_ms", "session_key")


def test_states_and_vectors_of_a_training_are_those_of_the_log(trained_home: TrainedHome) -> None:
    live = open_live(Releases(trained_home.path).open_active(), Settings(), CLOCK)
    with opened_home(trained_home.path) as opened:
        log = [(number, event) for number, event in opened.event_log.scan() if event.consent]
        everybody = sorted({subject_of(event.user_id, event.session_id) or "" for _, event in log})
        backfilled = {subject: read_user(subject, opened.store, live.stepper, NEVER) for subject in everybody}
    hintless = [(number, event) for number, event in log if event.action not in HINTS]
    applied, without_hints = MemoryStore(CLOCK), MemoryStore(CLOCK)
    apply_events(log, applied, None, Settings().state, NEVER)
    for begin in range(0, len(hintless), 500):
        apply_events(hintless[begin : begin + 500], without_hints, live.stepper, Settings().state, NEVER)
    unlearnt = unlearnt_keys(live)
    n_hinted = n_compared = 0
    for subject, (state, vectors) in backfilled.items():
        expected, _ = read_user(subject, applied, None, NEVER)
        _, expected_vectors = read_user(subject, without_hints, live.stepper, NEVER)
        check_same(state, expected)
        assert vectors is not None
        assert expected_vectors is not None
        if not unlearnt & set(state.seen.tolist()):  # the encoder reads what training never met, a step does not
            np.testing.assert_allclose(vectors.hidden, expected_vectors.hidden, atol=1e-3)
            n_compared += 1
        assert vectors.n_interactions == expected_vectors.n_interactions
        n_hinted += state.n_moves > state.n_interactions
    assert n_hinted > 10, "there are hints among the events"
    assert n_compared > 0.9 * len(everybody)


def unlearnt_keys(live: Live) -> set[int]:
    session, keys = live.funnel.vectors.session, live.funnel.catalog.keys
    assert session is not None
    return {int(key) for key, row in zip(keys, session, strict=False) if not row[:-1].any()}


def check_same(found: UserState, expected: UserState) -> None:
    for name in NUMBERS:
        assert getattr(found, name) == getattr(expected, name), name
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_where_some_interactions_are_less_than_a_step_vectors_are_made_when_they_are_read(
    trained_home: TrainedHome,
) -> None:
    """With the encoders of the release, which is not trained again."""
    from upnext.cli.pipeline.backfill import backfill
    from upnext.cli.pipeline.world import load_world
    from upnext.settings import StateSettings

    class Untouched:
        def encode(self, histories: object) -> None:
            raise AssertionError("nothing is to be encoded")

    class NoUsers:
        def user_vectors(self, some: object, users: np.ndarray) -> np.ndarray:
            return np.ones((len(users), 3), np.float32)

    live = open_live(Releases(trained_home.path).open_active(), Settings(), CLOCK)
    assert live.stepper is not None
    weighed = StateSettings(action_weights={"view": 0.5, "play": 0.5})
    store = MemoryStore(CLOCK)
    with opened_home(trained_home.path) as opened:
        world = load_world(opened.event_log, opened.records)
    name = live.stepper.encoders
    backfill(world, store, name, Untouched(), NoUsers(), weighed, 0, lambda *_: None)  # type: ignore[arg-type]
    state, vectors = read_user(world.columns.users[0], store, live.stepper, NEVER, settings=weighed)
    _, whole = read_user(world.columns.users[0], store, live.stepper, NEVER)
    assert vectors is not None
    assert whole is not None
    assert (vectors.state_version, vectors.n_interactions) == (state.state_version, state.n_interactions)
    assert vectors.user_vector.tolist() == [1, 1, 1]
    assert len(vectors.hidden)
    assert not np.allclose(vectors.hidden, whole.hidden)
