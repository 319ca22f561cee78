"""How requests read states: a store that fails is left alone, a late request or a damaged record blames nobody."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from upnext.clock import Deadline, ManualClock
from upnext.errors import StoreError, StoreTimeout
from upnext.features.user_view import UserView
from upnext.funnel.breaker import CircuitBreaker
from upnext.serve.reader import StateReader
from upnext.settings import PressureSettings
from upnext.store.interface import Store, Values
from upnext.store.memory_store import MemoryStore

SETTINGS = PressureSettings(breaker_open_ms=1_000.0, breaker_least_calls=5, breaker_probes=3)


class FaultyStore(MemoryStore):
    """Answers after so long; raises what it is told to."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.asked = 0
        self.error: Exception | None = None
        self.takes_ms = 0.0
        self._time = clock

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        self.asked += 1
        self._time.advance(min(self.takes_ms, max(deadline.left_ms(), 0.0)))
        if self.error:
            raise self.error
        return [b"7"] * len(keys)


class ReadingLive:
    """In place of a release: a view is what one read gives."""

    def __init__(self) -> None:
        self.use: Callable[[Values], int] = lambda values: int(values[0] or b"")

    def view(self, subject: str | None, store: Store, deadline: Deadline, healed: object) -> UserView:
        if subject is None:
            return UserView(state_version=0)
        return UserView(state_version=self.use(store.get_many([subject.encode()], deadline)))


class Reading:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.clock.advance(1_000)
        self.store, self.live = FaultyStore(self.clock), ReadingLive()
        self.breaker = CircuitBreaker("store", SETTINGS, self.clock, slow_ms=10.0)
        self.reader = StateReader(self.store, self.clock, self.breaker)

    def ask(self, subject: str | None = "u:a", left_ms: float = 50.0) -> int:
        """The state's version, -1 where it could not be read."""
        deadline = Deadline.after(self.clock, left_ms)
        try:
            return self.reader.view(self.live, subject, deadline).state_version  # type: ignore[arg-type]
        except StoreError:
            return -1

    def fail(self, error: Exception, takes_ms: float = 0.0) -> None:
        self.store.error, self.store.takes_ms = error, takes_ms

    def mend(self) -> None:
        self.store.error, self.store.takes_ms = None, 0.0


@pytest.fixture
def reading() -> Reading:
    return Reading()


def test_after_a_failure_the_store_is_left_alone_for_five_times_as_long_as_that_took(reading: Reading) -> None:
    reading.fail(StoreTimeout("slow"), 20.0)
    assert [reading.ask() for _ in range(3)] == [-1, -1, -1]
    assert reading.store.asked == 1
    reading.mend()
    reading.clock.advance(99)
    assert reading.ask() == -1
    reading.clock.advance(1)
    assert reading.ask() == 7
    assert reading.breaker.state == "closed"


def test_a_store_that_refuses_at_once_is_asked_again_at_once(reading: Reading) -> None:
    reading.fail(StoreError("refused"))
    assert [reading.ask(), reading.ask()] == [-1, -1]
    assert reading.store.asked == 2


def test_a_store_that_goes_on_failing_is_asked_once_in_a_while_until_enough_probes_are_good(reading: Reading) -> None:
    reading.fail(StoreTimeout("slow"), 20.0)
    while reading.breaker.state == "closed":
        assert reading.ask() == -1
        reading.clock.advance(1)
    assert reading.store.asked == 5
    reading.mend()
    reading.clock.advance(998)
    assert reading.ask() == -1
    assert reading.store.asked == 5
    reading.clock.advance(1)
    assert [reading.ask() for _ in range(3)] == [7, 7, 7]
    assert reading.breaker.state == "closed"


def test_a_store_that_answers_late_again_and_again_is_left_alone(reading: Reading) -> None:
    reading.store.takes_ms = 10.0
    assert [reading.ask() for _ in range(20)] == [7] * 20
    reading.store.takes_ms = 11.0
    assert [reading.ask() for _ in range(10)] == [7] * 10
    assert reading.breaker.state == "open"
    assert reading.ask() == -1


@pytest.mark.parametrize("left_ms", [0.0, -3.0, 4.0])
def test_a_request_that_was_late_before_it_asked_stops_no_other(reading: Reading, left_ms: float) -> None:
    reading.fail(StoreTimeout("the deadline passed"), 20.0)
    assert [reading.ask(left_ms=left_ms) for _ in range(20)] == [-1] * 20
    reading.mend()
    assert reading.ask() == 7
    assert reading.breaker.state == "closed"


def test_a_request_that_had_some_time_left_and_got_no_answer_blames_the_store(reading: Reading) -> None:
    reading.fail(StoreTimeout("not within 6 ms"), 20.0)
    assert [reading.ask(left_ms=6.0) for _ in range(2)] == [-1, -1]
    assert reading.store.asked == 1


@pytest.mark.parametrize("left_ms", [0.0, 4.0])
def test_a_late_request_does_not_take_the_place_of_a_probe(reading: Reading, left_ms: float) -> None:
    reading.fail(StoreError("refused"))
    while reading.breaker.state == "closed":
        reading.ask()
    reading.clock.advance(1_000)
    reading.fail(StoreTimeout("the deadline passed"), 20.0)
    assert [reading.ask(left_ms=left_ms) for _ in range(3)] == [-1] * 3
    assert reading.breaker.state != "closed"
    reading.mend()
    assert [reading.ask() for _ in range(3)] == [7, 7, 7]
    assert reading.breaker.state == "closed"


def test_a_store_whose_own_patience_is_short_is_blamed_all_the_same(reading: Reading) -> None:
    reading.fail(StoreTimeout("not within 3 ms"), 3.0)
    assert reading.ask() == -1
    assert reading.ask() == -1
    assert reading.store.asked == 1


def test_an_error_that_is_none_of_the_store_s_counts_as_its_failure_and_passes_through(reading: Reading) -> None:
    reading.fail(ValueError("a bug"))
    for _ in range(5):
        with pytest.raises(ValueError, match="a bug"):
            reading.ask()
    assert reading.breaker.state == "open"


def test_a_damaged_record_of_one_user_stops_no_other_and_is_logged(reading: Reading, caplog: Any) -> None:
    def damaged(values: Values) -> int:
        raise StoreError("a user's facts of 3 bytes are not whole")

    use, reading.live.use = reading.live.use, damaged
    assert [reading.ask() for _ in range(20)] == [-1] * 20
    reading.live.use = use
    assert reading.ask("u:b") == 7
    assert caplog.text.count("3 bytes are not whole") == 20


def test_nobody_in_particular_is_answered_while_the_store_is_left_alone(reading: Reading) -> None:
    reading.fail(StoreTimeout("slow"), 20.0)
    reading.ask()
    assert reading.ask(subject=None) == 0


def test_that_states_cannot_be_read_is_told_once_and_so_is_that_they_can_be_again(
    reading: Reading, caplog: Any
) -> None:
    caplog.set_level("WARNING")
    reading.fail(StoreError("refused"))
    for _ in range(30):
        reading.ask()
    reading.clock.advance(1_000)
    reading.mend()
    for _ in range(3):
        reading.ask()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "users' states cannot be read (refused); slates go on without them",
        "users' states can be read again",
    ]


def test_other_reads_of_requests_are_stopped_and_counted_with_those_of_states(reading: Reading) -> None:
    reading.fail(StoreTimeout("slow"), 20.0)
    reading.ask()
    with pytest.raises(StoreError):
        reading.reader.reads.get_many([b"shortlist/u:a"], Deadline.never(reading.clock))
    assert reading.store.asked == 1
    reading.mend()
    reading.clock.advance(100)
    assert reading.reader.reads.get_many([b"shortlist/u:a"], Deadline.never(reading.clock)) == [b"7"]
