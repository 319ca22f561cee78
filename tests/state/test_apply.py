"""From accepted events to stored state and back, on every embedded store."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.state.stepping import CountingStepper, event
from upnext.clock import Deadline, ManualClock
from upnext.domain.identity import key_of
from upnext.errors import StoreError, StoreTimeout
from upnext.settings import StateSettings
from upnext.state.apply import apply_events, read_user
from upnext.state.user_state import UserState, UserVectors, state_key, vectors_key
from upnext.store.interface import Store
from upnext.store.lmdb_store import LmdbStore
from upnext.store.memory_store import MemoryStore

NEVER = Deadline.never(ManualClock())
SETTINGS = StateSettings(recent_events=5)


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

    def test_two_threads_lose_no_event_of_one_user(self, store: Store) -> None:
        stepper, start = CountingStepper(), threading.Barrier(2)

        def work(first: int) -> None:
            start.wait()
            for number in range(first, first + 40):
                apply_events([event(number)], store, stepper, SETTINGS, NEVER)

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state, vectors = read_user("u:u", store, stepper, NEVER)
        assert (state.state_version, state.n_interactions, len(state.seen)) == (80, 80, 80)
        assert vectors is not None
        assert vectors.state_version == 80
        assert sorted(vectors.hidden.tolist()) == list(range(80)), "each item was stepped over once"
        assert [key_of(f"i{int(place)}") for place in vectors.hidden[-5:]] == state.recent_keys.tolist()

    def test_vectors_that_are_missing_are_made_from_the_recent_items_and_kept(self, store: Store) -> None:
        apply_events([event(number) for number in range(8)], store, None, SETTINGS, NEVER)
        stepper = CountingStepper()
        _, vectors = read_user("u:u", store, stepper, NEVER)
        assert vectors is not None
        assert (vectors.state_version, vectors.hidden.tolist()) == (8, [3, 4, 5, 6, 7])
        again = CountingStepper()
        _, kept = read_user("u:u", store, again, NEVER)
        assert kept is not None
        assert (again.steps, kept.hidden.tolist()) == (0, [3, 4, 5, 6, 7])

    def test_vectors_that_lag_behind_are_made_anew_with_the_user_vector_kept(self, store: Store) -> None:
        stepper = CountingStepper()
        apply_events([event(1)], store, stepper, SETTINGS, NEVER)
        batch = UserVectors(1, np.ones(2, np.float32), np.full(3, 7, np.float32), np.ones(1, np.float32))
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
            def step(self, hidden: np.ndarray, item_key: int) -> tuple[np.ndarray, np.ndarray] | None:
                store.put_many([(vectors_key("enc", "u:u"), fresher)], NEVER)
                return super().step(hidden, item_key)

        _, vectors = read_user("u:u", store, Interrupted(), NEVER)
        assert vectors is not None
        assert vectors.hidden.tolist() == [1]
        assert store.get_many([vectors_key("enc", "u:u")], NEVER) == [fresher]

    def test_a_user_forgotten_meanwhile_stays_forgotten(self, store: Store) -> None:
        apply_events([event(1)], store, None, SETTINGS, NEVER)

        class Interrupted(CountingStepper):
            def step(self, hidden: np.ndarray, item_key: int) -> tuple[np.ndarray, np.ndarray] | None:
                store.delete_many([state_key("u:u")], NEVER)
                return super().step(hidden, item_key)

        read_user("u:u", store, Interrupted(), NEVER)
        assert list(store.scan(b"")) == []

    def test_a_state_of_another_format_is_not_overwritten(self, store: Store) -> None:
        raw = b"\x09" + UserState().pack()[1:]
        store.put_many([(state_key("u:u"), raw)], NEVER)
        with pytest.raises(StoreError, match="format 9"):
            apply_events([event(1)], store, None, SETTINGS, NEVER)
        assert store.get_many([state_key("u:u")], NEVER) == [raw]

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
            def step(self, hidden: np.ndarray, item_key: int) -> tuple[np.ndarray, np.ndarray] | None:
                clock.advance(10)
                return super().step(hidden, item_key)

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
