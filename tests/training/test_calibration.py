"""Probabilities that were known beforehand are found again, and the error says how far off others are."""

import numpy as np
import pytest

from upnext.features.probability import Calibration, probabilities
from upnext.training.calibration import calibrate, expected_error, fit


def drawn(n_lists: int = 4_000, n: int = 30, temperature: float = 1.0, seed: int = 0):
    """Scores, and targets drawn by their softmax; the scores are told `temperature` times too sharp."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(scale=1.5, size=(n_lists, n))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    targets = (shares.cumsum(axis=1) > rng.random((n_lists, 1))).argmax(axis=1).astype(np.int32)
    return (temperature * scores).astype(np.float32), targets


def test_shares_that_are_right_are_left_as_they_are():
    found = fit(*drawn())
    assert found.slope == pytest.approx(1.0, abs=0.05)
    assert found.intercept == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("temperature", [3.0, 0.4])
def test_scores_too_sharp_or_too_flat_are_brought_to_the_truth(temperature):
    report = calibrate("exit8", *drawn(temperature=temperature))
    assert report.error_before > 0.03
    assert report.error_after < 0.012
    assert report.n_lists == 4_000
    assert (report.slope < 0.6) if temperature > 1 else (report.slope > 1.3)


def test_probabilities_of_two_scales_of_the_same_scores_agree_once_calibrated():
    (sharp, targets), (flat, _) = drawn(temperature=2.0), drawn(temperature=0.7)
    two = [probabilities(scores, fit(scores, targets)) for scores in (sharp, flat)]
    assert np.abs(two[0] - two[1]).mean() < 0.01
    assert np.abs(probabilities(sharp, Calibration()) - probabilities(flat, Calibration())).mean() > 0.01


def test_lists_from_which_nothing_was_chosen_lower_the_probabilities():
    scores, targets = drawn()
    half = np.where(np.arange(len(targets)) % 2 == 0, targets, -1).astype(np.int32)
    all_chosen, half_chosen = (probabilities(scores, fit(scores, each)) for each in (targets, half))
    assert half_chosen.sum() == pytest.approx(all_chosen.sum() / 2, rel=0.05)


def test_without_any_choice_nothing_is_learnt():
    scores, targets = drawn(n_lists=10)
    assert fit(scores, np.full_like(targets, -1)) == Calibration()


def test_padding_has_no_probability_and_does_not_change_the_others():
    scores, _ = drawn(n_lists=1)
    padded = np.hstack([scores, np.full((1, 5), -np.inf, np.float32)])
    found = probabilities(padded, Calibration())
    assert found[:, :30] == pytest.approx(probabilities(scores, Calibration()))
    assert found[:, 30:].max() < 1e-20


def test_the_error_is_the_mean_distance_of_foretold_and_observed():
    found = np.full((100, 10), 0.5, np.float32)
    targets = np.zeros(100, np.int32)  # one of ten is chosen, half are foretold
    assert expected_error(found, targets) == pytest.approx(0.4)
    assert expected_error(np.full((100, 10), 0.1, np.float32), np.arange(100, dtype=np.int32) % 10) < 0.1


def test_order_is_kept():
    scores, targets = drawn(n_lists=50)
    found = probabilities(scores, fit(scores, targets[::-1].copy()))
    assert all((np.diff(row[np.argsort(score)]) >= 0).all() for row, score in zip(found, scores, strict=True))
