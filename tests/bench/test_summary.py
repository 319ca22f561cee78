"""Every figure of a summary, against samples whose figures are known."""

import math

import numpy as np
import pytest

from upnext.bench.replies import count_replies
from upnext.bench.run import Plan, Run
from upnext.bench.samples import Outcome, Samples
from upnext.bench.summary import latencies_ms, percentile, spread, summarize
from upnext.bench.target import Target


def make_run(samples: Samples, *, ended_ms: float = 10_000.0, seconds: float = 2.0, warmup_s: float = 1.0) -> Run:
    plan = Plan(Target("127.0.0.1", 1, "/"), ["u"], rate_per_s=1.0, seconds=seconds, warmup_s=warmup_s)
    return Run(plan, samples, ended_ms)


def add(
    samples: Samples, intended_ms: float, latency_ms: float, outcome: Outcome = Outcome.REPLIED, status: int = 200
) -> None:
    index = samples.arrived(intended_ms)
    if outcome is not Outcome.UNSENT:
        samples.sent(index, intended_ms + 0.25)
    if outcome not in (Outcome.UNSENT, Outcome.PENDING):
        samples.ended(index, intended_ms + latency_ms, outcome, status if outcome is Outcome.REPLIED else 0)


def test_percentiles_of_1_to_1000_are_exactly_the_ranks() -> None:
    figures = spread(np.random.default_rng(0).permutation(np.arange(1.0, 1001.0)))
    assert (figures.p50, figures.p90, figures.p99, figures.p999, figures.max) == (500, 900, 990, 999, 1000)
    assert (figures.count, figures.mean) == (1000, 500.5)


@pytest.mark.parametrize(
    ("count", "percent", "rank"),
    [(1, 50, 1), (2, 50, 1), (3, 50, 2), (100, 99, 99), (101, 99, 100), (41_000, 99.9, 40_959)],
)
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(count: int, percent: float, rank: int) -> None:
    assert percentile(np.arange(1.0, count + 1), percent) == rank


def test_no_samples_have_no_percentiles() -> None:
    assert spread(np.array([])).count == 0
    assert math.isnan(spread(np.array([])).p99)


def test_only_requests_intended_after_the_warm_up_and_before_the_end_count() -> None:
    samples = Samples()
    for intended_ms in (0.0, 999.0, 1000.0, 2000.0, 2999.0, 3000.0):
        add(samples, intended_ms, 7.0)
    result = summarize(make_run(samples))
    assert result.requests == result.answered == 3
    assert result.offered_per_s == 1.5
    assert result.latency_ms.p50 == pytest.approx(7.0)
    assert result.lateness_ms.max == pytest.approx(0.25)


def test_the_achieved_rate_counts_answers_within_the_window_and_not_those_that_came_after() -> None:
    samples = Samples()
    for latency_ms in (100.0, 1_999.0, 2_001.0, 5_000.0):
        add(samples, 1000.0, latency_ms)
    assert summarize(make_run(samples)).achieved_per_s == 1.0


def test_requests_never_answered_count_with_the_time_they_had_waited() -> None:
    samples = Samples()
    add(samples, 1000.0, 10.0)
    add(samples, 1000.0, 5_000.0, Outcome.TIMED_OUT)
    add(samples, 1000.0, 0.0, Outcome.UNSENT)
    add(samples, 1000.0, 0.0, Outcome.PENDING)
    result = summarize(make_run(samples, ended_ms=8_000.0))
    assert result.latency_ms.count == 4
    assert result.latency_ms.max == 7_000.0
    assert result.failures == {"timed_out": 1, "unanswered": 1, "unsent": 1}


def test_quick_refusals_are_failures_and_do_not_flatter_the_latency() -> None:
    samples = Samples()
    add(samples, 1000.0, 50.0)
    for _ in range(9):
        add(samples, 1000.0, 0.5, status=503)
    add(samples, 1000.0, 0.5, Outcome.CLOSED)
    result = summarize(make_run(samples))
    assert latencies_ms(make_run(samples)).tolist() == [50.0]
    assert result.failures == {"connection_closed": 1, "status_503": 9}
    assert (result.answered, result.failed, result.requests) == (1, 10, 11)
    assert result.statuses == {"200": 1, "503": 9}


def test_bodies_say_tier_route_degradation_length_and_stages() -> None:
    full = b'{"items":[{},{}],"tier":"full","route":"live","timing_ms":{"ranking":3.5,"retrieval":1},"new_field":[1]}'
    fast = b'{"items":[{}],"tier":"fast","route":"live","degraded":[{"stage":"ranking","why":"breaker_open"}]}'
    counts = count_replies([(0, full), (1, full), (2, fast), (3, b"<html>"), (4, b'{"items":5}'), (5, b"{}")])
    assert (counts.read, counts.unreadable, counts.degraded) == (4, 2, 1)
    assert counts.tiers == {"full": 2, "fast": 1, "unnamed": 1}
    assert counts.routes == {"live": 3}
    assert counts.degradations == {"ranking: breaker_open": 1}
    assert counts.slate_lengths == {2: 2, 1: 1, 0: 1}
    assert counts.stages_ms == {"ranking": [3.5, 3.5], "retrieval": [1.0, 1.0]}


def test_shares_are_of_the_bodies_read_within_the_window() -> None:
    samples = Samples()
    for intended_ms, tier in (
        (0.0, b"popular"),
        (1500.0, b"full"),
        (1600.0, b"full"),
        (1700.0, b"full"),
        (1800.0, b"fast"),
    ):
        index = samples.arrived(intended_ms)
        samples.sent(index, intended_ms)
        samples.ended(index, intended_ms + 1.0, Outcome.REPLIED, 200, b'{"tier":"%b"}' % tier)
    answers = summarize(make_run(samples)).answers
    assert answers.tiers == {"full": 0.75, "fast": 0.25}
    assert answers.bodies_read == 4
