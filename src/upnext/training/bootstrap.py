"""How sure a mean over cases is, by drawing its users again; knows no metric and no system."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 1_000
LEVEL = 0.95
FEWEST_CLUSTERS = 10
"""Of fewer users an interval would only look like one."""
_MOST_DRAWS = 2**22
"""Draws made at once: 32 MiB of numbers."""


def resampled_means(
    values: Floats, clusters: npt.NDArray[np.integer], *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Means of each column of `values` (n_cases, n_columns) over redrawn cases, (resamples, n_columns).

    Drawn with replacement are not cases but `clusters` (n_cases,), the users they belong to, each with all its cases:
    answers to one user depend on each other (the cluster bootstrap of Davison and Hinkley, 1997, section 3.8; the
    bootstrap is Efron's, Annals of Statistics 7, 1979). All columns see the same draws, so differences are paired.
    """
    sums, counts = cluster_sums(values, clusters)
    n, rng = len(counts), np.random.default_rng(seed)
    size = max(1, _MOST_DRAWS // max(1, n))
    means = np.empty((resamples, values.shape[1]))
    for begin in range(0, resamples, size):
        lines = min(size, resamples - begin)
        draws = rng.integers(0, n, (lines, n)) + np.arange(lines)[:, None] * n
        times = np.bincount(draws.ravel(), minlength=lines * n).reshape(lines, n).astype(np.float64)
        means[begin : begin + lines] = (times @ sums) / (times @ counts)[:, None]
    return means


def cluster_sums(values: Floats, clusters: npt.NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Sums of `values` (n_cases, n_columns) by cluster, (n_clusters, n_columns), and cases in each, (n_clusters,)."""
    _, number = np.unique(clusters, return_inverse=True)
    counts = np.bincount(number).astype(np.float64)
    columns = [np.bincount(number, weights=column, minlength=len(counts)) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.zeros((len(counts), 0)), counts


def percentiles(samples: Floats, level: float = LEVEL) -> list[Interval]:
    """The middle `level` of each column of `samples` (n_samples, n_columns): Efron's percentile interval."""
    tail = (1.0 - level) / 2
    low, high = np.quantile(samples, [tail, 1.0 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def mean_intervals(
    values: Floats, clusters: npt.NDArray[np.integer], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval] | None:
    """The interval of the mean of each column; None where there are fewer than FEWEST_CLUSTERS clusters."""
    if len(np.unique(clusters)) < FEWEST_CLUSTERS:
        return None
    return percentiles(resampled_means(values, clusters, resamples=resamples, seed=seed))
