"""Intervals are as wide as theory says, and hold what they promise."""

import numpy as np
import pytest

from upnext.training.bootstrap import FEWEST_CLUSTERS, cluster_sums, mean_intervals, percentiles, resampled_means


def test_of_a_share_the_interval_is_the_one_of_the_normal_approximation() -> None:
    hits = (np.arange(2_000) % 5 == 0).astype(float)  # a share of 0.2
    [(low, high)] = mean_intervals(hits[:, None], np.arange(2_000), resamples=2_000) or []
    half = 1.96 * np.sqrt(0.2 * 0.8 / 2_000)
    assert (low, high) == (pytest.approx(0.2 - half, abs=0.0015), pytest.approx(0.2 + half, abs=0.0015))


def test_about_95_of_100_intervals_hold_the_true_mean() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        values = rng.exponential(2.0, (120, 1))
        [(low, high)] = mean_intervals(values, np.arange(120), resamples=400, seed=trial) or []
        held += low <= 2.0 <= high
    assert 0.90 <= held / 200 <= 0.98


def test_cases_of_one_user_are_drawn_together() -> None:
    """Ten equal cases per user say no more than one: the interval is that of the users."""
    users = np.repeat(np.arange(50), 10)
    values = (users % 2).astype(float)[:, None]
    [together] = mean_intervals(values, users) or []
    [apart] = mean_intervals(values, np.arange(500)) or []
    assert together[1] - together[0] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(50), rel=0.1)
    assert together[1] - together[0] > 2.5 * (apart[1] - apart[0])


def test_users_weigh_as_many_cases_as_they_have() -> None:
    sums, counts = cluster_sums(np.array([[1.0, 0.0], [2.0, 1.0], [4.0, 0.0]]), np.array([7, 9, 7]))
    assert (sums.tolist(), counts.tolist()) == ([[5.0, 0.0], [2.0, 1.0]], [2.0, 1.0])


def test_all_columns_see_the_same_draws() -> None:
    values = np.random.default_rng(0).random((40, 1))
    means = resampled_means(np.hstack([values, values + 1.0]), np.arange(40))
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 1.0)


def test_draws_depend_on_the_seed_alone_and_not_on_how_many_are_made_at_once(monkeypatch) -> None:
    values, users = np.random.default_rng(0).random((60, 2)), np.arange(60) // 2
    first = resampled_means(values, users, resamples=50, seed=3)
    monkeypatch.setattr("upnext.training.bootstrap._MOST_DRAWS", 100)
    np.testing.assert_allclose(resampled_means(values, users, resamples=50, seed=3), first)
    assert not np.array_equal(resampled_means(values, users, resamples=50, seed=4), first)


def test_of_a_handful_of_users_there_is_no_interval() -> None:
    values = np.arange(40.0)[:, None]
    assert mean_intervals(values, np.arange(40) % (FEWEST_CLUSTERS - 1)) is None
    assert mean_intervals(values, np.arange(40) % FEWEST_CLUSTERS) is not None


def test_the_percentile_interval_is_the_middle_of_the_samples() -> None:
    assert percentiles(np.arange(1_001.0)[:, None]) == [pytest.approx((25.0, 975.0))]
