"""Costs of stages: the p99 is right within its bucket, follows changes, and is never held against a stage for ever."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnext.funnel.stage_cost import StageCosts
from upnext.settings import PressureSettings

BUCKET = 2 ** (1 / 8)
NO_DECAY = PressureSettings(stage_half_life_calls=10**12)


def test_a_stage_of_which_nothing_is_known_costs_nothing() -> None:
    costs = StageCosts(PressureSettings())
    costs.skipped("ranking:exit_3")
    assert costs.p99_ms("ranking:exit_3") == 0.0


def test_one_call_is_enough_for_an_estimate_and_stages_are_apart() -> None:
    costs = StageCosts(PressureSettings())
    costs.observe("retrieval", 3.0)
    costs.observe("state", 0.02)
    assert 3.0 <= costs.p99_ms("retrieval") <= 3.0 * BUCKET
    assert 0.02 <= costs.p99_ms("state") <= 0.02 * BUCKET


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 3, 15, 127, 255, 1_023]), st.floats(0.1, 3.0))
def test_without_decay_it_is_the_p99_by_nearest_rank_up_to_one_bucket(seed: int, n: int, spread: float) -> None:
    costs = StageCosts(NO_DECAY)
    # The estimate is anew after n = 2^i - 1, or 127 + 64 i, calls. Costs are within the buckets.
    spent_ms = np.clip(np.random.default_rng(seed).lognormal(0.5, spread, n), 0.002, 10_000.0)
    for ms in spent_ms.tolist():
        costs.observe("ranking", ms)
    exact_ms = float(np.sort(spent_ms)[math.ceil(0.99 * n) - 1])
    assert exact_ms * (1 - 1e-9) <= costs.p99_ms("ranking") <= exact_ms * BUCKET * (1 + 1e-9)


@pytest.mark.parametrize(("every", "p99_ms"), [(101, 1.0), (99, 40.0)])
def test_one_slow_call_in_a_hundred_is_where_the_tail_begins(every: int, p99_ms: float) -> None:
    costs = StageCosts(NO_DECAY)
    for number in range(127 + 64 * 200):
        costs.observe("ranking", 40.0 if number % every == 0 else 1.0)
    assert p99_ms <= costs.p99_ms("ranking") <= p99_ms * BUCKET


def calls_until(costs: StageCosts, spent_ms: float, most: int) -> int:
    """How many calls of this cost it takes until the p99 says so."""
    for calls in range(1, most + 1):
        costs.observe("ranking", spent_ms)
        if spent_ms <= costs.p99_ms("ranking") <= spent_ms * BUCKET:
            return calls
    raise AssertionError(f"the p99 is still {costs.p99_ms('ranking')} after {most} calls")


def test_a_stage_that_becomes_slower_is_noticed_within_a_few_calls_and_a_faster_one_after_seven_half_lives() -> None:
    costs = StageCosts(PressureSettings(stage_half_life_calls=200))
    for _ in range(2_000):
        costs.observe("ranking", 2.0)
    assert calls_until(costs, 20.0, 64) <= 64
    for _ in range(2_000):
        costs.observe("ranking", 20.0)
    # old weight falls to 1 % after log2(100) = 6.64 half-lives
    assert 6.6 * 200 <= calls_until(costs, 2.0, 2_000) <= 6.7 * 200 + 64


@pytest.mark.parametrize("spent_ms", [0.0, -1.0, 1e-9, 1e9, math.inf, math.nan])
def test_no_cost_is_beyond_the_buckets(spent_ms: float) -> None:
    costs = StageCosts(PressureSettings())
    costs.observe("ranking", spent_ms)
    assert 0.0 < costs.p99_ms("ranking") <= 2.0**14


@pytest.mark.parametrize("bad_calls", [64, 500, 5_000])
def test_after_a_bad_moment_however_long_one_good_trial_ends_it(bad_calls: int) -> None:
    costs = StageCosts(PressureSettings(stage_half_life_calls=500))
    for _ in range(100):
        costs.observe("ranking", 2.0)
    for _ in range(bad_calls):
        costs.observe("ranking", 2_000.0)
    for left_out in range(99):
        assert costs.p99_ms("ranking") > 50.0, left_out
        costs.skipped("ranking")
    assert costs.p99_ms("ranking") == 0.0, "whoever asks now tries it"
    costs.observe("ranking", 3.0)
    assert 3.0 <= costs.p99_ms("ranking") <= 3.0 * BUCKET
    for _ in range(2):
        costs.observe("ranking", 4.0)
    assert 4.0 <= costs.p99_ms("ranking") <= 4.0 * BUCKET


def test_a_trial_as_bad_as_before_changes_nothing() -> None:
    costs = StageCosts(PressureSettings())
    for _ in range(200):
        costs.observe("ranking", 60.0)
    before = costs.p99_ms("ranking")
    for _ in range(99):
        costs.skipped("ranking")
    costs.observe("ranking", 70.0)
    assert costs.p99_ms("ranking") == before
    costs.skipped("ranking")
    assert costs.p99_ms("ranking") == before, "the next trial is 98 calls away"


def test_a_stage_that_stays_too_slow_is_tried_by_at_most_one_request_in_a_hundred() -> None:
    costs = StageCosts(PressureSettings())
    tried = 0
    for number in range(40_000):
        if costs.p99_ms("ranking") > 50.0:
            costs.skipped("ranking")
        else:
            costs.observe("ranking", 60.0)
            tried += number >= 10_000
    assert 0 < tried <= 0.01 * 30_000


def test_a_stage_left_out_by_most_requests_for_want_of_time_keeps_its_p99() -> None:
    costs = StageCosts(PressureSettings())
    for number in range(20_000):
        if number % 50:
            costs.skipped("ranking")
        else:
            costs.observe("ranking", 10.0)
    assert 10.0 <= costs.p99_ms("ranking") <= 10.0 * BUCKET
