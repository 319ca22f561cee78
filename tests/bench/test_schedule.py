"""Arrival times are fixed before the run."""

import numpy as np
import pytest

from upnext.bench.schedule import MOST_REQUESTS, arrival_times_ms
from upnext.errors import SettingsError


def test_constant_arrivals_are_one_every_reciprocal_of_the_rate() -> None:
    assert arrival_times_ms("constant", 4.0, 1.5).tolist() == [0.0, 250.0, 500.0, 750.0, 1000.0, 1250.0]


def test_poisson_arrivals_have_the_rate_and_the_exponential_gaps_of_independent_users() -> None:
    times_ms = arrival_times_ms("poisson", 1000.0, 100.0, seed=3)
    gaps_ms = np.diff(times_ms)
    assert len(times_ms) == pytest.approx(100_000, rel=0.02)
    assert gaps_ms.min() >= 0
    assert gaps_ms.mean() == pytest.approx(1.0, rel=0.02)
    assert gaps_ms.std() == pytest.approx(1.0, rel=0.02)  # equal to the mean only for exponential gaps
    assert (gaps_ms > 3.0).mean() == pytest.approx(np.exp(-3.0), rel=0.1)
    assert times_ms[-1] < 100_000


def test_one_seed_gives_one_schedule_and_another_seed_another() -> None:
    first, again, other = (arrival_times_ms("poisson", 50.0, 10.0, seed=seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize(("rate", "seconds"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (1.0, MOST_REQUESTS + 1.0)])
def test_a_schedule_of_nothing_or_of_too_much_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(SettingsError):
        arrival_times_ms("poisson", rate, seconds)
