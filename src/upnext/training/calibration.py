"""How a ranker's scores become probabilities, and how far off they are before and after; knows no ranker.

Platt scaling (Platt, 1999) of each candidate's softmax share of its list: the slope is a temperature, as in Guo et al.,
"On Calibration of Modern Neural Networks" (ICML 2017), from where the expected calibration error is too.
"""

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.features.probability import Calibration, probabilities, share_logits

Floats = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]
TOP = 100
"""Candidates of each list, the best ones, that are fitted to: hardly anything below them ever leaves."""
JUDGED = 10
_BINS = 15
_STEPS = 50
_RIDGE = 1e-6
_SMALLEST = 1e-8


class CalibrationReport(msgspec.Struct, frozen=True, kw_only=True):
    """One exit. The errors are of the JUDGED best candidates of each list, on lists that were not fitted to."""

    exit: str
    n_lists: int
    slope: float
    intercept: float
    error_before: float
    error_after: float

    @property
    def calibration(self) -> Calibration:
        return Calibration(slope=self.slope, intercept=self.intercept)


def calibrate(exit_name: str, scores: Floats, targets: npt.NDArray[np.int32]) -> CalibrationReport:
    """Fits on all lists; the errors by two halves, each judged with what was fitted on the other.

    `scores` (n_lists, n_candidates), -inf at padded places; `targets` (n_lists,) places, -1 for a list from which
    nothing was chosen.
    """
    halves = (slice(0, None, 2), slice(1, None, 2))
    after = [
        probabilities(scores[judged], fit(scores[fitted], targets[fitted]))
        for judged, fitted in zip(halves, reversed(halves), strict=True)
    ]
    order = np.concatenate([np.arange(len(scores))[half] for half in halves])
    fitted = fit(scores, targets)
    return CalibrationReport(
        exit=exit_name,
        n_lists=len(scores),
        slope=fitted.slope,
        intercept=fitted.intercept,
        error_before=expected_error(probabilities(scores, Calibration()), targets),
        error_after=expected_error(np.concatenate(after), targets[order]),
    )


def fit(scores: Floats, targets: npt.NDArray[np.int32]) -> Calibration:
    """Slope and intercept of the largest likelihood over the TOP best candidates of each list; Newton's method.

    As it was where there is nothing to learn from. The slope is never below 0: probabilities keep the order of scores.
    """
    logits, chosen = _best(share_logits(scores), targets, TOP)
    if not chosen.any() or chosen.all():
        return Calibration()
    inputs, found = np.stack([logits, np.ones_like(logits)], axis=1), np.array([1.0, 0.0])
    loss = _loss(inputs @ found, chosen)
    for _ in range(_STEPS):
        expected = 1.0 / (1.0 + np.exp(-np.clip(inputs @ found, -60, 60)))
        curvature = (inputs * (expected * (1 - expected))[:, None]).T @ inputs + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, inputs.T @ (chosen - expected))
        while (stepped := _loss(inputs @ (found + step), chosen)) > loss and np.abs(step).max() > _SMALLEST:
            step = step / 2  # far from the end a whole step may go too far
        if np.abs(step).max() <= _SMALLEST:
            break
        found, loss = found + step, stepped
    return Calibration(slope=max(float(found[0]), 0.0), intercept=float(found[1]))


def _loss(logits: Exact, chosen: npt.NDArray[np.bool_]) -> float:
    return float(np.logaddexp(0.0, np.where(chosen, -logits, logits)).sum())


def expected_error(found: Floats, targets: npt.NDArray[np.int32]) -> float:
    """Mean distance of foretold and observed shares of choices, over bins of equally many candidates.

    `found` (n_lists, n_candidates) probabilities; the JUDGED best of each list count. 0.0 for no lists.
    """
    foretold, chosen = _best(found.astype(np.float64), targets, JUDGED)
    if not len(foretold):
        return 0.0
    order = np.argsort(foretold, kind="stable")
    bins = np.array_split(order, min(_BINS, len(order)))
    return float(sum(abs(foretold[each].sum() - chosen[each].sum()) for each in bins) / len(order))


def _best(values: Exact, targets: npt.NDArray[np.int32], most: int) -> tuple[Exact, npt.NDArray[np.bool_]]:
    """The `most` largest values of each list, flat, and whether each is the target; -inf and 0 of padding left out."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :most]
    best = np.take_along_axis(values, order, axis=1)
    kept = np.isfinite(best)
    return best[kept], (order == targets[:, None])[kept]
