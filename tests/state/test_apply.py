"""From accepted events to stored state and back, on every embedded store."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.state.stepping import CountingStepper, event
from upnext.clock import Deadline, ManualClock
from upnext.domain.event import Event
from upnext.domain.identity import key_of
from upnext.errors import StoreError, StoreTimeout
from upnext.settings import StateSettings
from upnext.state.apply import Healed, put_back, read_user
from upnext.state.apply import apply_events as apply_numbered
from upnext.state.user_state import UserState, UserVectors, state_key, vectors_key
from upnext.store.interface import Store
from upnext.store.lmdb_store import LmdbStore
from upnext.store.memory_store import MemoryStore

NEVER = Deadline.never(ManualClock())
SETTINGS = StateSettings(recent_events=5)
_numbers = itertools.count(1)


def apply_events(events: Sequence[Event], *rest: Any) -> None:
    """Events that come in the order in which they are applied."""
    apply_numbered([(next(_numbers), each) for each in events], *rest)


def read_healed(subject: str, store: Store, stepper: CountingStepper) -> tuple[UserState, UserVectors | None]:
    """Read, and what was healed put back, as a worker does a moment later."""
    healed: list[Healed] = []
    found = read_user(subject, store, stepper, NEVER, healed.append)
    put_back(healed, store, NEVER)
    return found


class ApplySuite:
    """What must hold whatever the store. Subclasses give a fixture `store`."""

    def test_what_was_applied_is_read_with_vectors_to_match(self, store: Store) -> None:
        stepper = CountingStepper()
        apply_events([event(1), event(2), event(None, "search")], store, stepper, SETTINGS, NEVER)
        state, vectors = read_user("u:u", store, stepper, NEVER)
        assert (state.state_version, state.n_interactions) == (3, 2)
        assert vectors is not None
        assert (vectors.state_version, vectors.hidden.tolist()) == (3, [1, 2])
        assert stepper.steps == 2

    def test_users_and_sessions_are_kept_apart_and_in_order(self, store: Store) -> None:
        events = [event(1, user_id="a"), event(2, user_id="b"), event(3, user_id="a"), event(4, user_id="a")]
        events += [event(5, user_id=None, session_id="a"), event(6, user_id=None, session_id=None)]
        apply_events(events, store, None, SETTINGS, NEVER)
        recent = {s: read_user(s, store, None, NEVER)[0].recent_keys.tolist() for s in ("u:a", "u:b", "s:a", "s:")}
        expected = {"u:a": (1, 3, 4), "u:b": (2,), "s:a": (5,), "s:": ()}
        assert recent == {subject: [key_of(f"i{number}") for number in of] for subject, of in expected.items()}

    def test_without_consent_nothing_is_kept(self, store: Store) -> None:
        apply_events([event(1, consent=False)], store, CountingStepper(), SETTINGS, NEVER)
        assert list(store.scan(b"")) == []

    def test_an_absent_user_has_the_empty_state_and_nothing_is_written(self, store: Store) -> None:
        state, vectors = read_user("u:nobody", store, CountingStepper(), NEVER)
        assert (state.state_version, vectors) == (0, None)
        assert list(store.scan(b"")) == []

    def test_two_threads_that_deliver_the_same_events_apply_each_once(self, store: Store) -> None:
        stepper, start = CountingStepper(), threading.Barrier(2)
        log = [(number, event(number - 1)) for number in range(1, 81)]

        def work(batch: int) -> None:
            start.wait()
            for begin in range(0, 80, batch):
                apply_numbered(log[begin : begin + batch], store, stepper, SETTINGS, NEVER)

        threads = [threading.Thread(target=work, args=(batch,)) for batch in (1, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state, vectors = read_user("u:u", store, stepper, NEVER)
        assert (state.state_version, state.n_interactions, len(state.seen)) == (80, 80, 80)
        assert state.applied_sequence == 80
        assert vectors is not None
        assert vectors.state_version == 80
        assert vectors.hidden.tolist() == list(range(80)), "each item was stepped over once, in order"

    def test_what_another_writer_moved_meanwhile_is_done_again_and_the_others_not(self, store: Store) -> None:
        apply_numbered([(1, event(1, user_id="a")), (2, event(1, user_id="b"))], store, None, SETTINGS, NEVER)

        class Interrupted(CountingStepper):
            def step(self, hidden: Any, inputs: Any) -> Any:
                if self.steps == 0:
                    apply_numbered([(3, event(2, user_id="a"))], store, None, SETTINGS, NEVER)
                return super().step(hidden, inputs)

        stepper = Interrupted()
        numbered = [(3, event(2, user_id="a")), (4, event(3, user_id="a")), (5, event(4, user_id="b"))]
        apply_numbered(numbered, store, stepper, SETTINGS, NEVER)
        found = {user: read_user(f"u:{user}", store, stepper, NEVER) for user in "ab"}
        assert {user: (state.state_version, state.applied_sequence) for user, (state, _) in found.items()} == {
            "a": (3, 4), "b": (2, 5),
        }  # fmt: skip
        assert [found["a"][1].hidden.tolist(), found["b"][1].hidden.tolist()] == [[1, 2, 3], [1, 4]]

    def test_a_state_of_another_generation_begins_anew(self, store: Store) -> None:
        stepper, log = CountingStepper(), [(number, event(number)) for number in range(1, 6)]
        # A store that lost the first three events, and knows only of those after them.
        apply_numbered(log[3:], store, stepper, SETTINGS, NEVER, 7)
        assert read_user("u:u", store, stepper, NEVER)[0].n_interactions == 2
        apply_numbered(log, store, stepper, SETTINGS, NEVER, 8)
        apply_numbered(log, store, stepper, SETTINGS, NEVER, 8)
        state, vectors = read_user("u:u", store, stepper, NEVER)
        assert (state.n_interactions, state.generation) == (5, 8)
        assert vectors is not None
        assert vectors.hidden.tolist() == [1, 2, 3, 4, 5]

    def test_in_one_batch_or_one_by_one_the_same_comes_out(self, store: Store) -> None:
        stepper = CountingStepper()
        alone = [(number, event(number, user_id="a")) for number in range(1, 13)]
        for each in alone:
            apply_numbered([each], store, stepper, SETTINGS, NEVER)
        apply_numbered([(n, event(n, user_id="b")) for n, _ in alone], store, stepper, SETTINGS, NEVER)
        first, second = (store.get_many([state_key(s), vectors_key("enc", s)], NEVER) for s in ("u:a", "u:b"))
        assert first == second

    def test_vectors_that_are_missing_are_made_from_the_recent_items_and_kept(self, store: Store) -> None:
        apply_events([event(number) for number in range(8)], store, None, SETTINGS, NEVER)
        stepper = CountingStepper()
        _, vectors = read_healed("u:u", store, stepper)
        assert vectors is not None
        assert (vectors.state_version, vectors.hidden.tolist()) == (8, [3, 4, 5, 6, 7])
        again = CountingStepper()
        _, kept = read_healed("u:u", store, again)
        assert kept is not None
        assert (again.steps, kept.hidden.tolist()) == (0, [3, 4, 5, 6, 7])

    def test_vectors_that_lag_behind_step_over_what_they_lack_and_no_more(self, store: Store) -> None:
        stepper = CountingStepper()
        apply_events([event(number) for number in range(8)], store, stepper, SETTINGS, NEVER)
        apply_events([event(8), event(None, "search"), event(9)], store, None, SETTINGS, NEVER)
        taken = stepper.steps
        _, vectors = read_user("u:u", store, stepper, NEVER)
        assert vectors is not None
        assert (vectors.hidden.tolist(), stepper.steps - taken) == (list(range(10)), 2)
        apply_events([event(10)], store, stepper, SETTINGS, NEVER)
        _, vectors = read_user("u:u", store, stepper, NEVER)
        assert vectors is not None
        assert vectors.hidden.tolist() == list(range(11)), "an event steps over what was lacking too"

    def test_the_user_vector_is_carried_along(self, store: Store) -> None:
        stepper = CountingStepper()
        apply_events([event(1)], store, stepper, SETTINGS, NEVER)
        batch = UserVectors(1, np.ones(2, np.float32), np.full(3, 7, np.float32), np.ones(1, np.float32), 1)
        store.put_many([(vectors_key("enc", "u:u"), batch.pack())], NEVER)
        apply_events([event(2)], store, None, SETTINGS, NEVER)  # by a worker that has no encoders yet
        _, vectors = read_user("u:u", store, stepper, NEVER)
        assert vectors is not None
        assert (vectors.state_version, vectors.hidden.tolist()) == (2, [1, 2])
        assert vectors.user_vector.tolist() == [7, 7, 7]

    def test_encoders_of_two_releases_keep_vectors_side_by_side(self, store: Store) -> None:
        old, new = CountingStepper("old"), CountingStepper("new")
        apply_events([event(1)], store, old, SETTINGS, NEVER)
        apply_events([event(2)], store, new, SETTINGS, NEVER)
        versions = [read_user("u:u", store, stepper, NEVER)[1] for stepper in (old, new)]
        assert [v.hidden.tolist() for v in versions if v] == [[1, 2], [1, 2]]

    def test_what_another_wrote_meanwhile_is_not_overwritten_by_healing(self, store: Store) -> None:
        apply_events([event(1)], store, None, SETTINGS, NEVER)
        fresher = UserVectors(1, np.ones(1, np.float32), np.full(3, 7, np.float32), np.ones(1, np.float32)).pack()

        class Interrupted(CountingStepper):
            def step(self, hidden: Any, inputs: Any) -> Any:
                store.put_many([(vectors_key("enc", "u:u"), fresher)], NEVER)
                return super().step(hidden, inputs)

        _, vectors = read_healed("u:u", store, Interrupted())
        assert vectors is not None
        assert vectors.hidden.tolist() == [1]
        assert store.get_many([vectors_key("enc", "u:u")], NEVER) == [fresher]

    def test_a_user_forgotten_meanwhile_stays_forgotten(self, store: Store) -> None:
        apply_events([event(1)], store, None, SETTINGS, NEVER)

        class Interrupted(CountingStepper):
            def step(self, hidden: Any, inputs: Any) -> Any:
                store.delete_many([state_key("u:u")], NEVER)
                return super().step(hidden, inputs)

        read_healed("u:u", store, Interrupted())
        assert list(store.scan(b"")) == []

    @pytest.mark.parametrize("cut", [0, 9])
    def test_a_record_that_cannot_be_read_stays_and_holds_up_nobody_else(self, store: Store, cut: int) -> None:
        raw = (b"\x09" + UserState().pack()[1:])[cut:]
        store.put_many([(state_key("u:u"), raw)], NEVER)
        apply_events([event(1), event(2, user_id="other"), event(3)], store, None, SETTINGS, NEVER)
        assert store.get_many([state_key("u:u")], NEVER) == [raw]
        assert read_user("u:other", store, None, NEVER)[0].n_interactions == 1
        with pytest.raises(StoreError):
            read_user("u:u", store, None, NEVER)

    def test_past_the_deadline_nothing_is_applied(self, store: Store) -> None:
        clock = ManualClock()
        deadline = Deadline.after(clock, 5)
        clock.advance(6)
        with pytest.raises(StoreTimeout):
            apply_events([event(1)], store, None, SETTINGS, deadline)
        assert list(store.scan(b"")) == []

    def test_a_reader_whose_time_is_up_after_reading_still_gets_the_user(self, store: Store) -> None:
        apply_events([event(1)], store, None, SETTINGS, NEVER)
        clock = ManualClock()

        class Slow(CountingStepper):
            def step(self, hidden: Any, inputs: Any) -> Any:
                clock.advance(10)
                return super().step(hidden, inputs)

        state, vectors = read_user("u:u", store, Slow(), Deadline.after(clock, 5))
        assert state.n_interactions == 1
        assert vectors is not None
        assert vectors.hidden.tolist() == [1]
        assert store.get_many([vectors_key("enc", "u:u")], NEVER) == [None]


class TestMemoryStore(ApplySuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(ManualClock())


class TestLmdbStore(ApplySuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = LmdbStore(tmp_path / "store", ManualClock())
        yield store
        store.close()
