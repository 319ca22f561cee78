"""The guard: what raises it, for how long, and that all processes and machines see it."""

import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnext.clock import ManualClock, SystemClock
from upnext.errors import SettingsError
from upnext.funnel.guard import Guard, create_guard, shared_guard
from upnext.settings import PressureSettings

SETTINGS = PressureSettings(
    guard_p99_ms=80.0,
    guard_window_ms=10_000.0,
    guard_least_requests=200,
    guard_on_ms=60_000.0,
    guard_quiet_ms=60_000.0,
)
LOUD = PressureSettings(guard_quiet_ms=0.0)


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.advance(5_000)  # so that the clocks of a process and of the date have nothing in common
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_guard(tmp_path / "guard")
    return tmp_path / "guard"


@pytest.fixture
def guard(path: Path, clock: ManualClock) -> Iterator[Guard]:
    guard = Guard(path, LOUD, clock)
    yield guard
    guard.close()


def observe(guard: Guard, region: str | None, quick: int, slow: int = 0) -> None:
    for _ in range(quick):
        guard.observe(region, 80.0)
    for _ in range(slow):
        guard.observe(region, 80.1)


def test_it_goes_on_when_more_than_one_request_in_a_hundred_is_too_slow(guard: Guard) -> None:
    observe(guard, "eu", quick=398, slow=4)
    assert not guard.is_on("eu"), "4 of 402 are not more than 1 %"
    observe(guard, "eu", quick=0, slow=1)
    assert guard.is_on("eu")
    assert not guard.is_on("us")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(30.0, 36.0))
def test_it_agrees_with_the_exact_p99_of_the_window(seed: int, median_ms: float) -> None:
    clock = ManualClock()
    with shared_guard() as path:
        guard = Guard(path, LOUD, clock)
        observed: list[float] = []
        for total_ms in np.random.default_rng(seed).lognormal(np.log(median_ms), 0.4, 600).tolist():
            observed.append(total_ms)
            guard.observe("eu", total_ms)
            rank = -(-99 * len(observed) // 100) - 1
            assert guard.is_on("eu") == (len(observed) >= 200 and sorted(observed)[rank] > 80.0)
            if guard.is_on("eu"):
                break
        guard.close()


def test_with_too_few_requests_it_keeps_still(guard: Guard) -> None:
    observe(guard, "eu", quick=0, slow=199)
    assert not guard.is_on("eu")
    observe(guard, "eu", quick=1)
    assert guard.is_on("eu")


def test_what_is_older_than_the_window_does_not_count(guard: Guard, clock: ManualClock) -> None:
    observe(guard, "eu", quick=0, slow=150)
    clock.advance(9_000)
    observe(guard, "eu", quick=40)
    clock.advance(1_000)
    observe(guard, "eu", quick=159)
    observe(guard, "eu", quick=1)
    assert not guard.is_on("eu")
    observe(guard, "eu", quick=0, slow=3)
    assert guard.is_on("eu"), "the 40 of a second ago still count"


def test_what_is_nearly_as_old_as_the_window_still_counts(guard: Guard, clock: ManualClock) -> None:
    observe(guard, "eu", quick=0, slow=199)
    clock.advance(9_000)
    observe(guard, "eu", quick=1)
    assert guard.is_on("eu")


def test_what_was_counted_before_another_machine_raised_it_does_not_count_after(
    guard: Guard, clock: ManualClock
) -> None:
    observe(guard, "eu", quick=0, slow=199)
    guard.turn_on("eu", clock.now_ms() + 1_000)
    observe(guard, "eu", quick=1)
    clock.advance(1_000)
    observe(guard, "eu", quick=1)
    assert not guard.is_on("eu")


def test_it_stays_on_for_a_minute_and_then_judges_anew(guard: Guard, clock: ManualClock) -> None:
    observe(guard, "eu", quick=0, slow=200)
    observe(guard, "eu", quick=0, slow=500)
    clock.advance(59_999)
    observe(guard, "eu", quick=0, slow=500)
    assert guard.is_on("eu")
    clock.advance(1)
    assert not guard.is_on("eu")
    observe(guard, "eu", quick=0, slow=199)
    assert not guard.is_on("eu"), "what was seen while it was on does not count"
    observe(guard, "eu", quick=0, slow=1)
    assert guard.is_on("eu")


def test_a_worker_raises_none_in_its_first_minute_but_heeds_those_of_others(path: Path, clock: ManualClock) -> None:
    guard = Guard(path, SETTINGS, clock)
    clock.advance(59_999)
    observe(guard, "eu", quick=0, slow=1_000)
    assert not guard.is_on("eu")
    guard.turn_on("us", clock.now_ms() + 1_000)
    assert guard.is_on("us")
    clock.advance(1)
    observe(guard, "eu", quick=0, slow=199)
    assert not guard.is_on("eu")
    observe(guard, "eu", quick=0, slow=1)
    assert guard.is_on("eu")
    guard.close()


def test_all_workers_of_the_machine_see_it_and_forget_what_they_counted(path: Path, clock: ManualClock) -> None:
    first, second = Guard(path, LOUD, clock), Guard(path, LOUD, clock)
    observe(second, "eu", quick=0, slow=150)
    observe(first, "eu", quick=0, slow=200)
    assert second.is_on("eu")
    observe(second, "eu", quick=1)
    clock.advance(60_000)
    observe(second, "eu", quick=0, slow=199)
    assert not second.is_on("eu")
    first.close()
    second.close()


def test_another_process_with_the_clock_of_the_machine_sees_it(path: Path) -> None:
    clock = SystemClock()
    guard = Guard(path, LOUD, clock)
    guard.turn_on("eu", clock.now_ms() + 50_000)
    guard.close()
    code = (
        "import sys; from pathlib import Path; from upnext.clock import SystemClock\n"
        "from upnext.funnel.guard import Guard; from upnext.settings import PressureSettings\n"
        "guard = Guard(Path(sys.argv[1]), PressureSettings(), SystemClock())\n"
        "print(guard.is_on('eu'), guard.is_on('us'))"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout.split() == ["True", "False"], run.stderr


def test_what_is_raised_here_is_handed_out_once_with_its_date_and_what_others_raised_is_not(
    guard: Guard, clock: ManualClock
) -> None:
    guard.turn_on("us", clock.now_ms() + 60_000)
    assert guard.raised() == []
    observe(guard, "eu", quick=0, slow=300)
    assert guard.raised() == [("eu", clock.now_ms() + 60_000)]
    assert guard.raised() == []


def test_a_guard_of_another_machine_holds_until_its_date_whatever_this_machine_has_been_up_for(
    guard: Guard, clock: ManualClock
) -> None:
    guard.turn_on("eu", clock.now_ms() + 20_000)
    clock.advance(19_999)
    assert guard.is_on("eu")
    clock.advance(1)
    assert not guard.is_on("eu")


def test_another_machines_guard_neither_shortens_one_nor_outlasts_what_is_raised_here(
    guard: Guard, clock: ManualClock
) -> None:
    guard.turn_on("eu", clock.now_ms() + 10**12)
    guard.turn_on("eu", clock.now_ms() + 1_000)
    guard.turn_on("eu", clock.now_ms() - 1_000)
    clock.advance(59_999)
    assert guard.is_on("eu")
    clock.advance(1)
    assert not guard.is_on("eu")


def test_a_guard_whose_date_has_passed_changes_nothing(guard: Guard, clock: ManualClock) -> None:
    guard.turn_on("eu", clock.now_ms())
    guard.turn_on("eu", clock.now_ms() - 1)
    assert not guard.is_on("eu")


def test_regions_past_the_bound_are_one_with_that_without_a_name(path: Path, clock: ManualClock) -> None:
    guard = Guard(path, PressureSettings(guard_quiet_ms=0.0, regions=2), clock)
    assert not guard.is_on("a")
    assert not guard.is_on("b")
    observe(guard, "c", quick=0, slow=100)
    observe(guard, None, quick=0, slow=100)
    assert [guard.is_on(region) for region in ("a", "b", "c", "d", None, "")] == [False, False, True, True, True, True]
    assert guard.raised() == [("", clock.now_ms() + 60_000)]
    guard.close()


def test_the_place_of_a_region_is_the_same_in_every_process(guard: Guard, path: Path, clock: ManualClock) -> None:
    guard.turn_on("éu", clock.now_ms() + 60_000)
    word = int.from_bytes(path.read_bytes()[16 + 8 * (zlib.crc32("éu".encode()) % 2**20) :][:8], sys.byteorder)
    assert word == (5_000 + 60_000) * 1_000_000


def test_the_shared_file_is_there_for_its_time_takes_hardly_any_memory_and_is_removed() -> None:
    with shared_guard() as path:
        assert path.stat().st_size == 16 + 8 * 2**20
        assert path.stat().st_blocks * 512 <= 65_536
    assert not path.exists()


def test_a_file_that_is_something_else_is_refused(path: Path, clock: ManualClock) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(SettingsError, match="no file of a guard"):
        Guard(path, LOUD, clock)
    create_guard(path)
    path.write_bytes(path.read_bytes()[:1_024])
    with pytest.raises(SettingsError, match="no file of a guard"):
        Guard(path, LOUD, clock)
