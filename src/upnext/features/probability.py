"""What a ranker's scores mean as probabilities, once that has been measured; measures nothing itself."""

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_LEAST = 1e-7


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """From a candidate's share of its list to the probability that it is the one chosen; as it comes, no change."""

    slope: float = 1.0
    intercept: float = 0.0


def share_logits(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Log odds of each candidate's softmax share of its list, along the last axis; -inf scores stay -inf."""
    exact = scores.astype(np.float64)
    largest = exact.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = np.exp(exact - np.where(np.isfinite(largest), largest, 0.0))
    total = powers.sum(axis=-1, keepdims=True)
    shares = np.clip(powers / np.where(total > 0, total, 1.0), _LEAST, 1 - _LEAST)
    return np.where(np.isneginf(exact), -np.inf, np.log(shares) - np.log1p(-shares))


def probabilities(scores: npt.NDArray[np.floating], calibration: Calibration) -> Floats:
    """The probability of each candidate to be chosen, (…, n_candidates) float32, of all the scores of its list.

    Scores of different exits, rankers and releases have scales of their own; these probabilities can be compared. They
    are of the whole list: those of a part of it would be too large.
    """
    logits = np.clip(calibration.slope * share_logits(scores) + calibration.intercept, -60.0, 60.0)
    return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
