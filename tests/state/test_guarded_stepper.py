"""A session encoder that fails or hangs: vectors lag behind for a while, and nothing else comes of it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.state.stepping import CountingStepper, event
from upnext.clock import Deadline, ManualClock
from upnext.domain.event import Event
from upnext.funnel.breaker import CircuitBreaker
from upnext.settings import PressureSettings, StateSettings
from upnext.state.apply import Healed, apply_events, put_back, read_user
from upnext.state.guarded_stepper import GuardedStepper, NoStep
from upnext.state.step_input import StepInput
from upnext.state.user_state import vectors_key
from upnext.store.interface import Store
from upnext.store.lmdb_store import LmdbStore
from upnext.store.memory_store import MemoryStore

NEVER = Deadline.never(ManualClock())
PRESSURE = PressureSettings(breaker_least_calls=2, breaker_open_ms=500.0, breaker_slow_ms=20.0, breaker_probes=2)
NOTHING = np.empty(0, np.float32)
PATIENCE_S = 30.0


class Faulty(CountingStepper):
    """Fails, or takes its time, when told to."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.fails, self.takes_ms, self.calls = False, 0.0, 0
        self.inside: Callable[[], object] = lambda: None
        self._clock = clock

    def step(self, hidden: Sequence[np.ndarray], inputs: Sequence[StepInput]) -> Any:
        self.calls += 1
        self._clock.advance(self.takes_ms)
        self.inside()
        if self.fails:
            raise RuntimeError("no graph")
        return super().step(hidden, inputs)


class Guarded:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.clock.advance(1_000)
        self.faulty = Faulty(self.clock)
        self.breaker = CircuitBreaker("session_model", PRESSURE, self.clock)
        self.stepper = GuardedStepper(self.faulty, self.breaker, self.clock)

    def steps(self, stepper: GuardedStepper | None = None) -> bool:
        """Whether a step is taken."""
        try:
            (stepper or self.stepper).step([NOTHING], [StepInput()])
        except NoStep:
            return False
        return True

    def trip(self) -> None:
        self.faulty.fails = True
        while self.breaker.state == "closed":
            assert not self.steps()
        self.faulty.fails = False


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


def test_it_steps_as_the_one_it_guards(guarded: Guarded) -> None:
    plain, inputs = CountingStepper(), [StepInput(key) for key in [*list(guarded.faulty._place)[:3], 1]]
    assert guarded.stepper.encoders == "enc"
    for hidden in ([NOTHING] * 4, [np.ones(1, np.float32)] * 4):
        found, expected = guarded.stepper.step(hidden, inputs), plain.step(hidden, inputs)
        assert [each and each[0].tolist() for each in found] == [each and each[0].tolist() for each in expected]
    assert found[3] is None, "it does not know that item"


def test_an_error_of_any_kind_is_no_step_and_its_cause_is_kept_and_logged(guarded: Guarded, caplog: Any) -> None:
    guarded.faulty.fails = True
    with pytest.raises(NoStep) as raised:
        guarded.stepper.step([NOTHING], [StepInput()])
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert "RuntimeError: no graph" in caplog.text
    assert guarded.breaker.state == "closed", "one is not enough"


@pytest.mark.parametrize(("fails", "takes_ms"), [(True, 0.0), (False, 21.0)])
def test_when_steps_fail_or_are_slow_nobody_steps_until_a_probe_is_good(
    guarded: Guarded, fails: bool, takes_ms: float
) -> None:
    guarded.faulty.fails, guarded.faulty.takes_ms = fails, takes_ms
    for _ in range(2):
        guarded.steps()
    assert guarded.breaker.state == "open"
    calls = guarded.faulty.calls
    assert not guarded.steps()
    assert guarded.faulty.calls == calls
    guarded.faulty.fails, guarded.faulty.takes_ms = False, 0.0
    guarded.clock.advance(500)
    assert [guarded.steps(), guarded.steps()] == [True, True]
    assert guarded.breaker.state == "closed"


def test_one_that_hung_for_long_is_not_tried_again_at_once(guarded: Guarded) -> None:
    guarded.faulty.takes_ms = 2_000
    assert guarded.steps()
    assert guarded.breaker.state == "open"
    assert not guarded.steps()


def test_whoever_must_not_be_held_up_never_probes(guarded: Guarded) -> None:
    writer = guarded.stepper.never_probing()
    assert guarded.steps(writer)
    guarded.trip()
    guarded.clock.advance(500)
    calls = guarded.faulty.calls
    assert not guarded.steps(writer)
    assert (guarded.faulty.calls, guarded.breaker.state) == (calls, "open")
    assert guarded.steps()
    assert not guarded.steps(writer)
    assert guarded.steps()
    assert guarded.steps(writer), "it is closed again"


def test_while_a_step_hangs_no_other_thread_begins_one_and_then_they_do(guarded: Guarded) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        go_on.wait(PATIENCE_S)

    guarded.faulty.inside = hang
    hanging = threading.Thread(target=guarded.steps)
    hanging.start()
    assert begun.wait(PATIENCE_S)
    guarded.faulty.inside = lambda: None
    writer = guarded.stepper.never_probing()
    guarded.clock.advance(49)
    assert guarded.steps(writer), "so far it may just be at work"
    guarded.clock.advance(1)
    calls = guarded.faulty.calls
    assert [guarded.steps(), guarded.steps(writer)] == [False, False]
    assert guarded.faulty.calls == calls
    go_on.set()
    hanging.join(PATIENCE_S)
    assert guarded.breaker.state == "open", "one of two calls was slow"
    guarded.clock.advance(500)
    assert guarded.steps()


class LaggingSuite:
    """What must hold of states and vectors whatever the store. Subclasses give a fixture `store`."""

    def apply(self, guarded: Guarded, store: Store, *items: int, first: int = 1, user: str = "u") -> None:
        events: list[tuple[int, Event]] = [(first + at, event(item, user_id=user)) for at, item in enumerate(items)]
        apply_events(events, store, guarded.stepper, StateSettings(), NEVER, 7)

    def test_events_are_applied_and_vectors_lag_until_they_are_read_again(self, guarded: Guarded, store: Store) -> None:
        self.apply(guarded, store, 1, 2)
        stored = store.get_many([vectors_key("enc", "u:u")], NEVER)
        guarded.faulty.fails = True
        self.apply(guarded, store, 3, 4, first=3)
        self.apply(guarded, store, 3, 4, first=3)  # delivered again
        assert store.get_many([vectors_key("enc", "u:u")], NEVER) == stored
        healed: list[Healed] = []
        state, lagging = read_user("u:u", store, guarded.stepper, NEVER, healed.append)
        assert (state.state_version, state.n_interactions, state.applied_sequence) == (4, 4, 4)
        assert lagging is not None
        assert (lagging.state_version, lagging.hidden.tolist(), healed) == (2, [1, 2], [])
        guarded.faulty.fails = False
        guarded.clock.advance(500)
        steps = guarded.faulty.steps
        _, vectors = read_user("u:u", store, guarded.stepper, NEVER, healed.append)
        assert vectors is not None
        assert (vectors.state_version, vectors.hidden.tolist(), guarded.faulty.steps - steps) == (4, [1, 2, 3, 4], 2)
        put_back(healed, store, NEVER)
        assert read_user("u:u", store, CountingStepper("enc"), NEVER)[1].hidden.tolist() == [1, 2, 3, 4]  # type: ignore[union-attr]

    def test_a_user_without_vectors_has_empty_ones_that_lag(self, guarded: Guarded, store: Store) -> None:
        guarded.trip()
        self.apply(guarded, store, 1, 2)
        assert store.get_many([vectors_key("enc", "u:u")], NEVER) == [None]
        state, vectors = read_user("u:u", store, guarded.stepper, NEVER)
        assert vectors is not None
        assert (state.state_version, vectors.state_version) == (2, 0)
        assert len(vectors.hidden) == len(vectors.session_vector) == len(vectors.user_vector) == 0
        assert read_user("u:nobody", store, guarded.stepper, NEVER)[1] is None
        guarded.clock.advance(500)
        _, vectors = read_user("u:u", store, guarded.stepper, NEVER)
        assert vectors is not None
        assert vectors.hidden.tolist() == [1, 2]

    def test_steps_that_stop_halfway_through_many_users_leave_no_half_stepped_vectors(
        self, guarded: Guarded, store: Store
    ) -> None:
        self.apply(guarded, store, 1, user="a")
        self.apply(guarded, store, 1, first=2, user="b")

        def fail_later() -> None:
            guarded.faulty.fails = guarded.faulty.calls > 3

        guarded.faulty.inside = fail_later
        many = [(3, event(2, user_id="a")), (4, event(2, user_id="b")), (5, event(3, user_id="b"))]
        apply_events(many, store, guarded.stepper, StateSettings(), NEVER, 7)
        guarded.faulty.inside, guarded.faulty.fails = lambda: None, False
        guarded.clock.advance(500)
        found = {user: read_user(f"u:{user}", store, guarded.stepper, NEVER) for user in "ab"}
        assert {user: vectors and vectors.hidden.tolist() for user, (_, vectors) in found.items()} == {
            "a": [1, 2], "b": [1, 2, 3],
        }  # fmt: skip

    def test_vectors_of_a_state_that_began_anew_are_not_continued(self, guarded: Guarded, store: Store) -> None:
        log = [(number, event(number)) for number in range(1, 6)]
        # A store that lost the first three events, and knows only of those after them.
        apply_events(log[3:], store, guarded.stepper, StateSettings(), NEVER, 8)
        guarded.trip()
        apply_events(log, store, guarded.stepper, StateSettings(), NEVER, 9)
        guarded.clock.advance(500)
        state, vectors = read_user("u:u", store, guarded.stepper, NEVER)
        assert state.n_interactions == 5
        assert vectors is not None
        assert vectors.hidden.tolist() == [1, 2, 3, 4, 5]

    def test_what_another_writer_moved_meanwhile_is_done_again_without_steps_too(
        self, guarded: Guarded, store: Store
    ) -> None:
        self.apply(guarded, store, 1)
        later = [(2, event(2)), (3, event(3))]

        def interrupt() -> None:
            if guarded.faulty.calls == 2:
                apply_events(later[:1], store, None, StateSettings(), NEVER, 7)
                raise RuntimeError("no graph")

        guarded.faulty.inside = interrupt
        apply_events(later, store, guarded.stepper, StateSettings(), NEVER, 7)
        guarded.clock.advance(500)
        state, vectors = read_user("u:u", store, guarded.stepper, NEVER)
        assert (state.state_version, state.applied_sequence) == (3, 3)
        assert vectors is not None
        assert vectors.hidden.tolist() == [1, 2, 3]


class TestMemoryStore(LaggingSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(ManualClock())


class TestLmdbStore(LaggingSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = LmdbStore(tmp_path / "store", ManualClock())
        yield store
        store.close()
