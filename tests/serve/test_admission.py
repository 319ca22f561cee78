"""Admission: under overload the compute thread stays busy and waits stay short; in calm nobody is turned away."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from upnext.clock import ManualClock
from upnext.serve.admission import Admission
from upnext.settings import PressureSettings

SETTINGS = PressureSettings(admission_wait_ms=10.0, admission_start=8, admission_most=64)
BUDGET_MS = 50.0


@dataclass
class Worker:
    """One compute thread, first come first served, behind an admission."""

    clock: ManualClock = field(default_factory=ManualClock)
    free_ms: float = 0.0
    busy_ms: float = 0.0
    admitted: int = 0
    offered: int = 0
    waits_ms: list[float] = field(default_factory=list)
    most_inside: int = 0
    queue: deque[tuple[float, float, float]] = field(default_factory=deque)  # end, wait, total

    def __post_init__(self) -> None:
        self.admission = Admission(SETTINGS, self.clock)

    def _settle(self, until_ms: float) -> None:
        while self.queue and self.queue[0][0] <= until_ms:
            end_ms, waited_ms, total_ms = self.queue.popleft()
            self.clock.advance(end_ms - self.clock.monotonic_ms())
            self.admission.leave(waited_ms, total_ms <= BUDGET_MS)
        self.clock.advance(until_ms - self.clock.monotonic_ms())

    def run(self, span_ms: float, load: float, service_ms: Callable[[], float], seed: int = 0) -> "Worker":
        """Offers `load` times what one thread can do with a mean service of 1 ms, at random; counts of this span."""
        random = np.random.default_rng(seed)
        self.busy_ms, self.waits_ms, self.admitted, self.offered, self.most_inside = 0.0, [], 0, 0, 0
        end_ms = self.clock.monotonic_ms() + span_ms
        at_ms = self.clock.monotonic_ms()
        for gap_ms in random.exponential(1.0 / load, int(2 * span_ms * load) + 100).tolist():
            at_ms += gap_ms
            if at_ms >= end_ms:
                break
            self._settle(at_ms)
            self.offered += 1
            if not self.admission.enter():
                continue
            self.admitted += 1
            self.most_inside = max(self.most_inside, self.admission.inside)
            begin_ms, spent_ms = max(at_ms, self.free_ms), service_ms()
            self.free_ms = begin_ms + spent_ms
            self.busy_ms += spent_ms
            self.waits_ms.append(begin_ms - at_ms)
            self.queue.append((self.free_ms, begin_ms - at_ms, self.free_ms - at_ms))
        self._settle(end_ms)
        return self


def steady() -> float:
    return 1.0


def varying(seed: int = 1) -> Callable[[], float]:
    """Log-normal with mean 1 ms and a standard deviation of 0.8 ms."""
    random = np.random.default_rng(seed)
    sigma = np.sqrt(np.log(1 + 0.8**2))
    return lambda: float(random.lognormal(-(sigma**2) / 2, sigma))


@pytest.mark.parametrize("service_ms", [steady, varying()], ids=["steady", "varying"])
@pytest.mark.parametrize("load", [1.5, 5.0, 20.0])
def test_overloaded_the_thread_stays_busy_and_waits_stay_near_what_is_aimed_at(
    load: float, service_ms: Callable[[], float]
) -> None:
    worker = Worker()
    worker.run(500, load, service_ms)
    worker.run(5_000, load, service_ms, seed=1)
    assert worker.busy_ms >= 0.9 * 5_000
    assert worker.admitted < worker.offered
    assert np.quantile(worker.waits_ms, 0.99) <= 2 * SETTINGS.admission_wait_ms
    assert max(worker.waits_ms) <= BUDGET_MS


def test_with_steady_work_the_limit_settles_where_the_wait_is_what_is_aimed_at() -> None:
    worker = Worker()
    worker.run(3_000, 5.0, steady)
    assert 8 <= worker.admission.limit <= 12, "10 ms of waiting at 1 ms each, and one that is served"


def test_when_the_work_becomes_ten_times_as_long_waits_come_down_within_a_second() -> None:
    worker = Worker()
    worker.run(2_000, 5.0, steady)
    worker.run(1_000, 5.0, lambda: 10.0)
    worker.run(10_000, 5.0, lambda: 10.0, seed=1)
    assert np.quantile(worker.waits_ms, 0.99) <= 2 * SETTINGS.admission_wait_ms
    assert worker.busy_ms >= 0.9 * 10_000


def test_after_an_overload_a_load_that_fits_is_admitted_nearly_whole_at_once() -> None:
    worker = Worker()
    worker.run(5_000, 5.0, varying())
    worker.run(2_000, 0.5, varying(2), seed=1)
    assert worker.admitted >= 0.99 * worker.offered


def test_a_calm_hour_does_not_leave_the_limit_wide_open() -> None:
    worker = Worker()
    worker.run(60_000, 0.3, steady)
    assert worker.admission.limit <= 12


def test_while_it_is_in_use_and_nobody_waits_the_limit_rises_by_one_a_round_up_to_its_bound() -> None:
    admission = Admission(SETTINGS, ManualClock())
    assert sum(admission.enter() for _ in range(20)) == 8
    for limit in range(8, 64):
        assert admission.limit == limit
        for _ in range(limit + 1):  # 1/limit each, a little less as it grows
            admission.leave(10.0, True)
            while admission.enter():
                pass
    for _ in range(1_000):
        admission.leave(0.0, True)
        while admission.enter():
            pass
    assert (admission.limit, admission.inside) == (64, 64)


def test_a_wait_too_long_takes_a_tenth_once_for_all_who_waited_beside_it() -> None:
    clock = ManualClock()
    clock.advance(1_000)
    admission = Admission(PressureSettings(admission_wait_ms=10.0, admission_start=100), clock)
    assert sum(admission.enter() for _ in range(200)) == 100
    for _ in range(5):
        admission.leave(20.0, True)
    assert admission.limit == 90
    clock.advance(19)
    admission.leave(20.0, True)
    assert admission.limit == 90
    clock.advance(1)
    admission.leave(20.0, True)
    assert admission.limit == 81


def test_late_requests_lower_the_limit_even_if_they_did_not_wait() -> None:
    admission = Admission(PressureSettings(admission_start=100), ManualClock())
    assert admission.enter()
    admission.leave(0.0, False)
    assert admission.limit == 90


def test_the_limit_never_falls_below_one_and_comes_back() -> None:
    clock = ManualClock()
    admission = Admission(SETTINGS, clock)
    for _ in range(200):
        assert admission.enter()
        admission.leave(1_000.0, False)
        clock.advance(1_000)
    assert admission.limit == 1
    assert admission.enter()
    assert not admission.enter()
    admission.leave(0.0, True)
    assert admission.limit == 2


def test_what_is_cancelled_makes_room_and_teaches_nothing() -> None:
    admission = Admission(PressureSettings(admission_start=1), ManualClock())
    for _ in range(5):
        assert admission.enter()
        assert not admission.enter()
        admission.cancel()
    assert (admission.limit, admission.inside) == (1, 0)
