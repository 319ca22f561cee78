"""Whether two sets of answers to the same cases differ more than chance would have it; knows no release."""

from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError
from upnext.training.bootstrap import (
    FEWEST_CLUSTERS,
    RESAMPLES,
    Interval,
    cluster_sums,
    percentiles,
    resampled_means,
)
from upnext.training.evaluate import Answered

Floats = npt.NDArray[np.float64]

SIGNIFICANCE = 0.05
POWER = 0.8
FLIPS = 9_999
_MOST_SIGNS = 2**22


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one system in two releases, over the same cases.

    `interval` is the 95 % interval of second - first; `p` the permutation test's, `p_holm` the same with Holm's
    correction over all figures of the system. `cases_needed`: about how many cases would tell a difference of this size
    from none (80 % power), None where it is real or there is no difference at all.
    """

    system: str
    figure: str
    first: float
    second: float
    difference: float
    interval: Interval
    p: float
    p_holm: float
    verdict: Literal["real", "not told apart"]
    cases_needed: int | None = None

    @property
    def in_words(self) -> str:
        """The verdict as a sentence."""
        if self.verdict == "real":
            return f"real: the second is {'better' if self.difference > 0 else 'worse'}"
        if self.cases_needed is None:
            return "not told apart: no difference seen" if self.difference == 0 else "not told apart"
        return f"not told apart: would need about {self.cases_needed:,} cases"


def common_cases(first: Answered, second: Answered) -> tuple[Answered, Answered]:
    """Both with only the cases that both were asked, in the same order.

    Raises TrainingError when there is none, or too few users for a comparison.
    """
    _, of_first, of_second = np.intersect1d(first.events, second.events, assume_unique=True, return_indices=True)
    if not len(of_first):
        raise TrainingError(
            "the releases hold out no event in common, so no case is fair to both; train both on the same log with "
            "the same --split and --hold-out"
        )
    if len(np.unique(first.users[of_first])) < FEWEST_CLUSTERS:
        raise TrainingError(
            f"the releases share cases of fewer than {FEWEST_CLUSTERS} users, which says nothing; use more data"
        )
    return first.take(of_first), second.take(of_second)


def compare(first: Answered, second: Answered, *, seed: int = 0, resamples: int = RESAMPLES) -> list[Difference]:
    """Every figure of every system that both have, over `common_cases` of both, which see.

    A difference is real when its interval, of a paired bootstrap over users, excludes 0 and a permutation test, Holm's
    correction for the number of figures included, gives p < SIGNIFICANCE.
    """
    first, second = common_cases(first, second)
    found: list[Difference] = []
    for system in first.places:
        if system not in second.places:
            continue
        one, other = first.gains(system), second.gains(system)
        found += _differences(system, first.figures, one, other, first.users, seed, resamples)
    return found


def _differences(
    system: str, figures: tuple[str, ...], one: Floats, other: Floats, users: npt.NDArray[np.integer],
    seed: int, resamples: int,
) -> list[Difference]:  # fmt: skip
    apart = other - one
    means = resampled_means(apart, users, resamples=resamples, seed=seed)
    p = sign_flip_p(apart, users, seed=seed)
    adjusted = holm(p)
    found = []
    for at, (figure, interval) in enumerate(zip(figures, percentiles(means), strict=True)):
        real = (interval[0] > 0 or interval[1] < 0) and adjusted[at] < SIGNIFICANCE
        difference = float(apart[:, at].mean())
        found.append(
            Difference(
                system=system, figure=figure, first=float(one[:, at].mean()), second=float(other[:, at].mean()),
                difference=difference, interval=interval, p=float(p[at]), p_holm=float(adjusted[at]),
                verdict="real" if real else "not told apart",
                cases_needed=None if real else cases_needed(difference, float(means[:, at].std()), len(apart)),
            )
        )  # fmt: skip
    return found


def sign_flip_p(differences: Floats, clusters: npt.NDArray[np.integer], *, flips: int = FLIPS, seed: int = 0) -> Floats:
    """Two-sided p of "the mean is 0" for each column of paired `differences` (n_cases, n_columns), (n_columns,).

    Fisher's permutation test for pairs: were there no difference, each user's could as well have the other sign. The
    signs of `clusters` (n_cases,) are drawn `flips` times; p is the share of draws as extreme as what was seen, that
    one included, so never 0.
    """
    sums, _ = cluster_sums(differences, clusters)
    sums = sums[np.any(sums != 0, axis=1)]
    seen = np.abs(sums.sum(axis=0))
    n, rng = len(sums), np.random.default_rng(seed)
    size = max(1, _MOST_SIGNS // max(1, n))
    extreme = np.zeros(differences.shape[1])
    for begin in range(0, flips, size):
        lines = min(size, flips - begin)
        signs = rng.integers(0, 2, (lines, n), dtype=np.int8).astype(np.float64) * 2 - 1
        extreme += (np.abs(signs @ sums) >= seen - 1e-9).sum(axis=0)
    return (1.0 + extreme) / (1.0 + flips)


def holm(p: Floats) -> Floats:
    """`p` (n,) adjusted so that the chance of any false alarm among them stays at the level (Holm, 1979)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def cases_needed(difference: float, standard_error: float, n_cases: int) -> int | None:
    """Cases with which a difference of this size would be noticed with POWER, given its standard error over `n_cases`.

    None for no difference.
    """
    if difference == 0 or standard_error == 0:
        return None
    reach = NormalDist().inv_cdf(1 - SIGNIFICANCE / 2) + NormalDist().inv_cdf(POWER)
    return max(n_cases + 1, round(n_cases * (reach * standard_error / difference) ** 2))
