"""Whole runs against a real server on loopback, with margins wide enough for a busy machine."""

import numpy as np
import pytest

from tests.bench.loopback_server import Answer, serving
from upnext.bench.capacity import find_capacity
from upnext.bench.run import Plan, Run, run_load
from upnext.bench.summary import latencies_ms, summarize
from upnext.bench.target import parse_target
from upnext.errors import SettingsError, UpnextError


def run(url: str, rate: float | None, **more: object) -> Run:
    options = {"seconds": 0.5, "warmup_s": 0.0, "connections": 4, "arrivals": "constant", "timeout_ms": 2_000.0} | more
    return run_load(Plan(parse_target(url), ["a", "b"], rate, **options))  # type: ignore[arg-type]


def stalls_once(at: int, for_ms: float):  # type: ignore[no-untyped-def]
    """One request is answered after `for_ms`, all others at once."""
    return lambda number: Answer(after_ms=for_ms if number == at else 0.0)


def test_a_stall_is_charged_for_everyone_it_kept_waiting_though_a_closed_loop_sees_one_slow_answer() -> None:
    with serving(stalls_once(at=20, for_ms=400.0)) as url:
        opened = latencies_ms(run(url, 100.0, seconds=1.0, connections=1))
    with serving(stalls_once(at=20, for_ms=400.0)) as url:
        closed = latencies_ms(run(url, None, seconds=1.0, connections=1))
    assert len(opened) == 100
    # 40 requests were due during the stall, one every 10 ms: 30 of them waited more than 100 ms.
    assert np.sum(opened > 100.0) >= 25
    assert np.percentile(opened, 90) > 200.0
    assert np.sum(closed > 100.0) <= 3
    assert closed.max() > 350.0


def test_every_request_is_sent_once_and_answered() -> None:
    numbers: list[int] = []
    with serving(lambda number: numbers.append(number) or Answer()) as url:
        result = summarize(run(url, 400.0))
    assert result.requests == result.answered == len(numbers) == 200
    assert result.failed == 0
    assert result.answers.tiers == {"full": 1.0}
    assert result.answers.slate_lengths == {"2": 200}


def test_a_known_delay_is_in_the_latency() -> None:
    with serving(lambda number: Answer(after_ms=30.0)) as url:
        figures = summarize(run(url, 50.0)).latency_ms
    assert 29.0 <= figures.p50 < 300.0


def test_refusals_hang_ups_and_nonsense_are_counted_apart() -> None:
    kinds = [Answer(), Answer(status=503), Answer(raw=None), Answer(raw=b"HELLO\r\n\r\n"), Answer()]
    with serving(lambda number: kinds[number % 5]) as url:
        result = summarize(run(url, 200.0))
    assert result.failures == {"connection_closed": 20, "malformed_reply": 20, "status_503": 20}
    assert result.answered == 40


def test_a_server_that_wants_each_connection_closed_is_asked_on_new_ones() -> None:
    with serving(lambda number: Answer(close=True)) as url:
        result = summarize(run(url, 100.0))
    assert (result.answered, result.failed) == (50, 0)


def test_silence_times_out_and_the_run_still_ends() -> None:
    with serving(lambda number: Answer(never=number == 3)) as url:
        result = summarize(run(url, 50.0, timeout_ms=200.0))
    assert result.failures == {"timed_out": 1}
    assert result.latency_ms.max >= 200.0


def test_a_server_that_answers_nobody_leaves_requests_unsent_not_lost() -> None:
    with serving(lambda number: Answer(never=True)) as url:
        result = summarize(run(url, 100.0, seconds=0.2, connections=2, timeout_ms=100.0))
    assert result.requests == 20
    assert result.answered == 0
    assert result.failed == 20
    assert "timed_out" in result.failures


def test_the_warm_up_is_asked_but_not_counted() -> None:
    numbers: list[int] = []
    with serving(lambda number: numbers.append(number) or Answer()) as url:
        result = summarize(run(url, 100.0, warmup_s=0.3, seconds=0.2))
    assert len(numbers) == 50
    assert result.requests == 20


def test_capacity_is_what_a_server_of_known_delay_can_do() -> None:
    with serving(lambda number: Answer(after_ms=50.0)) as url:
        result = find_capacity(url, connections=5, seconds=0.5, warmup_s=0.2, users=3)
    assert 5 / 0.500 < result.achieved_per_s <= 5 / 0.049
    assert result.failed == 0


def test_a_port_nobody_listens_on_is_an_error_that_says_what_to_do() -> None:
    with serving(lambda number: Answer()) as url:
        pass
    with pytest.raises(UpnextError, match="start the server"):
        run(url, 10.0)


@pytest.mark.parametrize("wrong", [{"connections": 0}, {"seconds": 0.0}, {"timeout_ms": 0.0}, {"warmup_s": -1.0}])
def test_a_plan_that_cannot_be_carried_out_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        run("http://127.0.0.1:1", 10.0, **wrong)


def test_a_plan_without_users_is_refused() -> None:
    with pytest.raises(SettingsError, match="--users"):
        Plan(parse_target("http://127.0.0.1:1"), [], 10.0)
