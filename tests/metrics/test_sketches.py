"""Quantiles out of bins are right within one percent, wherever they lie."""

import numpy as np
import pytest
from ddsketch.mapping import LogarithmicMapping

from upnext.metrics.cells import Cell
from upnext.metrics.names import STAGES
from upnext.metrics.recorder import Metrics
from upnext.metrics.sketches import (
    FIRST_KEY,
    LEAST_MS,
    MOST_MS,
    N_BINS,
    RELATIVE_ACCURACY,
    at_most,
    bin_of,
    quantiles,
)

QUANTILES = (0.5, 0.99, 0.999)


def bins_of(times_ms: np.ndarray) -> np.ndarray:
    metrics = Metrics()
    for ms in times_ms.tolist():
        metrics.observe_stage("total", ms)
    return metrics.totals().counts[Cell("histogram", STAGES.name, ("total",))][1:]


@pytest.mark.parametrize("draw", ["lognormal", "pareto", "uniform"])
def test_quantiles_are_those_of_the_times_within_the_promised_accuracy(draw: str) -> None:
    random = np.random.default_rng(5)
    times_ms = {
        "lognormal": random.lognormal(1.0, 1.2, 20_000),
        "pareto": 0.5 + random.pareto(1.5, 20_000),
        "uniform": random.uniform(0.01, 300.0, 20_000),
    }[draw]
    exact = np.quantile(times_ms, QUANTILES, method="lower")
    found = quantiles(bins_of(times_ms), QUANTILES)
    assert found == pytest.approx(exact.tolist(), rel=RELATIVE_ACCURACY)


def test_bins_added_up_are_the_bins_of_everything() -> None:
    random = np.random.default_rng(6)
    first, second = random.lognormal(0, 1, 500), random.lognormal(3, 1, 700)
    assert (bins_of(first) + bins_of(second) == bins_of(np.concatenate([first, second]))).all()


def test_a_bin_is_the_key_of_the_mapping_less_the_first() -> None:
    for ms in np.random.default_rng(7).lognormal(1.0, 3.0, 2_000).clip(2 * LEAST_MS, MOST_MS / 2).tolist():
        assert bin_of(ms) == LogarithmicMapping(RELATIVE_ACCURACY).key(ms) - FIRST_KEY


def test_what_is_beyond_the_bins_counts_at_their_ends() -> None:
    bins = bins_of(np.array([0.0, -1.0, LEAST_MS / 10, MOST_MS * 10]))
    assert (bins[0], bins[-1], bins.sum(), len(bins)) == (3, 1, 4, N_BINS)


def test_nothing_has_no_quantile_and_a_bound_counts_what_is_below_it() -> None:
    assert quantiles(np.zeros(N_BINS), QUANTILES) == [None] * 3
    assert at_most(bins_of(np.array([1.0, 4.9, 5.5, 70.0])), (0.5, 5.0, 50.0, 500.0)) == [0, 2, 3, 4]
