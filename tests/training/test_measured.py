"""Figures, intervals and segments belong to the same cases."""

import numpy as np
import pytest

from upnext.training.evaluate import Answered
from upnext.training.measured import measure
from upnext.training.metrics import MISSED

COUNTS = np.array([50, 1, 1, 0])


def answered(n: int = 400) -> Answered:
    """`good` puts head items first and misses the rest; `bad` misses all."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, n).astype(np.int32)
    good = np.where(targets == 0, 0, MISSED)
    return Answered(
        np.arange(n), np.arange(n, dtype=np.int32) // 2, rng.integers(0, 30, n), targets, ("ndcg@10", "hr@10"),
        {"good": good, "bad": np.full(n, MISSED)}, {"good": 0.5, "bad": 0.0},
    )  # fmt: skip


def test_figures_are_means_over_all_cases_with_intervals_around_them() -> None:
    measured = measure(answered(), COUNTS)
    share = float((answered().targets == 0).mean())
    assert measured.systems["good"] == {"ndcg@10": share, "hr@10": share, "coverage": 0.5, "n_cases": 400}
    low, high = measured.intervals["good"]["hr@10"]
    assert low < share < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 400), rel=0.2)
    assert measured.intervals["bad"]["hr@10"] == (0.0, 0.0)


def test_segments_have_figures_of_their_own_cases() -> None:
    segments = measure(answered(), COUNTS).segments
    assert segments["items head"].systems["good"]["hr@10"] == 1.0
    assert segments["items tail"].systems["good"]["hr@10"] == 0.0
    assert sum(segments[name].n_cases for name in ("items head", "items tail", "items new")) == 400
    assert segments["items new"].n_cases == (answered().targets == 3).sum()
    assert 0 < segments["users heavy"].n_cases <= 40


def test_a_segment_of_few_users_has_figures_but_no_interval() -> None:
    few = answered(16)
    measured = measure(few, COUNTS)
    assert measured.intervals == {}
    assert all(not segment.intervals for segment in measured.segments.values())
    assert measured.systems["good"]["n_cases"] == 16
