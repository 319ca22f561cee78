"""The limit of a key: exact over every window, one for all processes, alive when one of them dies."""

import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnext.clock import ManualClock
from upnext.errors import SettingsError
from upnext.serve import rate_limit
from upnext.serve.keys import Key
from upnext.serve.rate_limit import RateLimiter, create_limits, shared_limits

PATIENCE_S = 60


def key(rate_per_s: float | None, burst: int = 1, key_id: str = "aaaaaaaa") -> Key:
    return Key(id=key_id, secret_sha256="0" * 64, scopes=("ingest",), rate_per_s=rate_per_s, burst=burst, created_ms=0)


@contextmanager
def limiting(path: Path, clock: ManualClock) -> Iterator[RateLimiter]:
    limiter = RateLimiter(path, clock)
    try:
        yield limiter
    finally:
        limiter.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_limits(tmp_path / "rates")
    return tmp_path / "rates"


@pytest.fixture
def limiter(path: Path, clock: ManualClock) -> Iterator[RateLimiter]:
    with limiting(path, clock) as opened:
        yield opened


def test_a_burst_is_admitted_at_once_and_then_one_request_for_each_interval(
    limiter: RateLimiter, clock: ManualClock
) -> None:
    ten_a_second = key(10, burst=3)
    assert [limiter.allow(ten_a_second) for _ in range(5)] == [0.0, 0.0, 0.0, 0.1, 0.1]
    clock.advance(99)
    assert limiter.allow(ten_a_second) == pytest.approx(0.001)
    clock.advance(1)
    assert [limiter.allow(ten_a_second) for _ in range(2)] == [0.0, 0.1]


def test_a_pause_gives_back_the_burst_and_never_more(limiter: RateLimiter, clock: ManualClock) -> None:
    ten_a_second = key(10, burst=3)
    for pause_ms in (0, 1_000_000, 300):
        clock.advance(pause_ms)
        assert sum(limiter.allow(ten_a_second) == 0.0 for _ in range(10)) == 3


def test_what_is_refused_costs_nothing(limiter: RateLimiter, clock: ManualClock) -> None:
    once_a_second = key(1)
    assert limiter.allow(once_a_second) == 0.0
    assert {limiter.allow(once_a_second) for _ in range(1_000)} == {1.0}
    clock.advance(1_000)
    assert limiter.allow(once_a_second) == 0.0


def test_a_dear_request_takes_as_much_as_many_and_one_above_the_burst_never_comes_through(limiter: RateLimiter) -> None:
    ten_a_second = key(10, burst=5)
    assert [limiter.allow(ten_a_second, cost) for cost in (6, 3, 3, 2, 1)] == [math.inf, 0.0, 0.1, 0.0, 0.1]


def test_keys_have_limits_of_their_own_and_one_without_a_rate_has_none(limiter: RateLimiter) -> None:
    assert [limiter.allow(key(1, key_id=name)) for name in ("aaaaaaaa", "aaaaaaab", "aaaaaaaa")] == [0.0, 0.0, 1.0]
    assert {limiter.allow(key(None, key_id="aaaaaaac")) for _ in range(100)} == {0.0}


def test_a_key_read_anew_goes_on_where_it_was(limiter: RateLimiter) -> None:
    assert [limiter.allow(key(1)), limiter.allow(key(1))] == [0.0, 1.0]
    # Its rate changed by hand: in force at once, over what was used before.
    assert limiter.allow(key(1, burst=3)) == 0.0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rate_per_s=st.floats(0.001, 1e6),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 60)), max_size=60),
)
def test_over_any_window_no_more_than_the_burst_and_the_rate_are_admitted(
    tmp_path_factory: pytest.TempPathFactory, rate_per_s: float, burst: int, steps: list[tuple[float, int]]
) -> None:
    """`steps`: pauses, in intervals of the rate, and how many requests come after each."""
    path, clock, limited = tmp_path_factory.getbasetemp() / "rates", ManualClock(), key(rate_per_s, burst)
    create_limits(path)
    admitted: list[tuple[float, int]] = []
    with limiting(path, clock) as limiter:
        for pause, requests in steps:
            clock.advance(pause / rate_per_s * 1e3)
            count = sum(limiter.allow(limited) == 0.0 for _ in range(requests))
            admitted.append((clock.monotonic_ms() / 1e3, count))
            # Nor does it refuse what is due: after a whole interval a request comes through.
            assert count >= 1 or pause < 1.01  # the interval is whole nanoseconds, rounded up
    for first, (from_s, _) in enumerate(admitted):
        total = 0
        for until_s, count in admitted[first:]:
            total += count
            assert total <= burst + rate_per_s * (until_s - from_s) + 1e-6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rate_per_s=st.floats(0.01, 1e4),
    used=st.integers(1, 30),
    pause=st.floats(0, 5),
)
def test_who_waits_as_long_as_told_is_admitted_and_not_before(
    tmp_path_factory: pytest.TempPathFactory, rate_per_s: float, used: int, pause: float
) -> None:
    path, clock, limited = tmp_path_factory.getbasetemp() / "rates", ManualClock(), key(rate_per_s, 5)
    create_limits(path)
    with limiting(path, clock) as limiter:
        for _ in range(used):
            limiter.allow(limited)
        clock.advance(pause / rate_per_s * 1e3)
        wait_s = limiter.allow(limited)
        if wait_s > 1e-6:  # below, the clock's own rounding counts
            clock.advance(wait_s * 1e3 * 0.99)
            assert limiter.allow(limited) > 0
            clock.advance(wait_s * 1e3 * 0.01 + 1e-5)
            assert limiter.allow(limited) == 0.0


_ASK = """
import base64, sys
from pathlib import Path
from upnext.clock import ManualClock
from upnext.serve import rate_limit
from upnext.serve.keys import Key

rate_limit._YIELDS = 10**9  # on a busy machine the one that holds the mutex may stand still for long
limiter = rate_limit.RateLimiter(Path(sys.argv[1]), ManualClock())
n_keys, burst = int(sys.argv[2]), int(sys.argv[3])
keys = [
    Key(id=base64.b32encode(number.to_bytes(5)).decode().lower(), secret_sha256="0" * 64, scopes=("ingest",),
        rate_per_s=1000, burst=burst, created_ms=0)
    for number in range(n_keys)
]
print("ready", flush=True)
sys.stdin.readline()
print(*(sum(limiter.allow(key) == 0.0 for _ in range(burst)) for key in keys))
"""


def ask_from_two_processes(path: Path, n_keys: int, burst: int) -> list[list[int]]:
    """Requests admitted of each key, by each process. They begin together, and each asks for the whole burst."""
    command = [sys.executable, "-c", _ASK, str(path), str(n_keys), str(burst)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        return [[int(count) for count in process.communicate(timeout=PATIENCE_S)[0].split()] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.skipif(not rate_limit._MUTEX.works, reason="this C library has no robust mutexes")
def test_processes_that_ask_at_once_share_one_limit_to_the_last_request(path: Path) -> None:
    (one,), (other,) = ask_from_two_processes(path, n_keys=1, burst=20_000)
    # The clock stands still: the burst and not one request more, though each process alone asked for as many.
    assert one + other == 20_000


@pytest.mark.skipif(not rate_limit._MUTEX.works, reason="this C library has no robust mutexes")
def test_processes_that_meet_a_key_first_at_the_same_time_count_it_in_one_place(path: Path) -> None:
    counts = ask_from_two_processes(path, n_keys=3_000, burst=1)
    assert {one + other for one, other in zip(*counts, strict=True)} == {1}


@pytest.mark.skipif(not rate_limit._MUTEX.works, reason="this C library has no robust mutexes")
def test_a_process_that_dies_within_the_mutex_holds_nobody_up(path: Path) -> None:
    die = (
        "import os, sys\nfrom pathlib import Path\nfrom upnext.clock import ManualClock\n"
        "from upnext.serve import rate_limit\nfrom upnext.serve.keys import Key\n"
        "limiter = rate_limit.RateLimiter(Path(sys.argv[1]), ManualClock())\n"
        "key = Key(id='aaaaaaaa', secret_sha256='0' * 64, scopes=('ingest',), rate_per_s=1, burst=2, created_ms=0)\n"
        "limiter.allow(key)\n"
        "assert rate_limit._MUTEX.acquire(limiter._slots['aaaaaaaa'].mutex)\n"
        "os._exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", die, str(path)], timeout=PATIENCE_S).returncode == 7
    with limiting(path, ManualClock()) as limiter:
        assert [limiter.allow(key(1, burst=2)) for _ in range(3)] == [0.0, 1.0, 1.0]
        # Mended, not gone round: the mutex can be had again, by one at a time.
        mutex = limiter._slots["aaaaaaaa"].mutex
        assert rate_limit._MUTEX._try(mutex) == 0
        rate_limit._MUTEX.unlock(mutex)


def test_a_mutex_whose_holder_stands_still_is_waited_for_a_while_and_then_gone_round(
    limiter: RateLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_YIELDS", 10)
    assert limiter.allow(key(1, burst=2)) == 0.0
    mutex = limiter._slots["aaaaaaaa"].mutex
    assert rate_limit._MUTEX.acquire(mutex)
    assert [limiter.allow(key(1, burst=2)) for _ in range(2)] == [0.0, 1.0]
    rate_limit._MUTEX.unlock(mutex)  # the C library remembers what this thread holds, even past the end of the map


def test_without_mutexes_one_process_is_limited_all_the_same(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit._MUTEX, "works", False)
    with limiting(path, clock) as limiter:
        assert [limiter.allow(key(1, burst=2)) for _ in range(3)] == [0.0, 0.0, 1.0]


def test_a_second_limiter_over_the_file_sees_what_the_first_admitted(path: Path, clock: ManualClock) -> None:
    with limiting(path, clock) as first, limiting(path, clock) as second:
        assert [first.allow(key(1, burst=2)), second.allow(key(1, burst=2)), first.allow(key(1, burst=2))] == [0, 0, 1]


def test_when_all_places_are_taken_a_further_key_is_limited_in_each_process_and_the_log_says_so(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rate_limit, "_SLOTS", 4)
    create_limits(path)
    with limiting(path, clock) as limiter:
        for name in ("aaaaaaaa", "baaaaaaa", "caaaaaaa", "daaaaaaa"):
            assert [limiter.allow(key(1, key_id=name)) for _ in range(2)] == [0.0, 1.0]
        assert not caplog.text
        assert [limiter.allow(key(1, key_id="eaaaaaaa")) for _ in range(2)] == [0.0, 1.0]
        assert caplog.text.count("eaaaaaaa counts per worker") == 1


def test_the_shared_file_is_there_for_its_time_and_no_longer(clock: ManualClock) -> None:
    with shared_limits() as path:
        with limiting(path, clock) as limiter:
            assert limiter.allow(key(1)) == 0.0
        assert path.stat().st_size == 4_097 * 128
    assert not path.exists()


def test_a_file_that_is_something_else_is_refused(path: Path, clock: ManualClock) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(SettingsError, match="no file of rate limits"):
        RateLimiter(path, clock)
