"""The quality factor: in balance at one late request in a hundred, whatever the load."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnext.funnel.quality import QualityFactor
from upnext.settings import PressureSettings

SETTINGS = PressureSettings(quality_step=0.001, quality_percentile=99.0, quality_least=0.1)


def test_a_region_begins_at_one_and_stays_there_while_nobody_is_late() -> None:
    quality = QualityFactor(SETTINGS)
    assert quality.of("eu") == 1.0
    quality.observe("eu", True)
    assert quality.of("eu") == 1.0


def test_one_late_request_takes_what_ninety_nine_in_time_give_back() -> None:
    quality = QualityFactor(SETTINGS)
    quality.observe("eu", False)
    assert quality.of("eu") == pytest.approx(1 - 0.099)
    for _ in range(98):
        quality.observe("eu", True)
    assert quality.of("eu") == pytest.approx(1 - 0.001)
    quality.observe("eu", True)
    assert quality.of("eu") == pytest.approx(1.0)


def test_another_percentile_has_another_balance() -> None:
    quality = QualityFactor(PressureSettings(quality_step=0.01, quality_percentile=90.0))
    quality.observe("eu", False)
    assert quality.of("eu") == pytest.approx(1 - 0.09)


def test_it_falls_to_a_tenth_and_no_further_and_comes_back_at_once() -> None:
    quality = QualityFactor(SETTINGS)
    for _ in range(50):
        quality.observe("eu", False)
    assert quality.of("eu") == 0.1
    quality.observe("eu", True)
    assert quality.of("eu") == pytest.approx(0.101)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.5, 0.9))
def test_under_any_load_one_request_in_a_hundred_is_late_in_the_long_run(seed: int, capacity: float) -> None:
    """Late when the work, scaled by the factor, is more than there is capacity for, with noise."""
    n, step = 20_000, 0.0005
    quality = QualityFactor(PressureSettings(quality_step=step))
    late = 0
    for noise in np.random.default_rng(seed).normal(0.0, 0.03, n).tolist():
        in_time = quality.of("eu") + noise <= capacity
        quality.observe("eu", in_time)
        late += not in_time
    # As long as no end is met the steps telescope: all that was lost and won makes up the way from 1 to the factor.
    assert 0.1 < quality.of("eu") < 1.0
    assert late / n - 0.01 == pytest.approx((1.0 - quality.of("eu")) / (100 * step * n), rel=1e-6)


def test_regions_are_apart_and_none_is_the_one_without_a_name() -> None:
    quality = QualityFactor(SETTINGS)
    quality.observe("eu", False)
    quality.observe(None, False)
    quality.observe("", False)
    assert (quality.of("us"), quality.of("eu")) == (1.0, pytest.approx(0.901))
    assert quality.of(None) == quality.of("") == pytest.approx(0.802)


def test_regions_past_the_bound_share_one_factor() -> None:
    quality = QualityFactor(PressureSettings(regions=2))
    for region in ("a", "b", "c", "d"):
        quality.observe(region, False)
    assert quality.of("a") == quality.of("b") == pytest.approx(0.901)
    assert quality.of("c") == quality.of("d") == quality.of("never seen") == pytest.approx(0.802)
