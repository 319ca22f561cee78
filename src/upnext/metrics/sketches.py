"""Times into bins of one relative width, and quantiles back out of them; knows not what took the time.

DDSketch (Masson, Rim and Lee, VLDB 2019): a quantile is right within RELATIVE_ACCURACY, p99.9 as well as the median,
and adding up the bins of several processes is the sketch of all of them, exactly.
"""

import math

import numpy as np
import numpy.typing as npt
from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore

Bins = npt.NDArray[np.float64]

RELATIVE_ACCURACY = 0.01
LEAST_MS, MOST_MS = 1e-3, 1e5
"""What is shorter counts in the first bin, what is longer in the last."""

_mapping = LogarithmicMapping(RELATIVE_ACCURACY)
FIRST_KEY = _mapping.key(LEAST_MS)
N_BINS = _mapping.key(MOST_MS) - FIRST_KEY + 1
_PER_LOG = 1 / math.log(_mapping.gamma)
MIDDLES_MS = np.array([_mapping.value(FIRST_KEY + place) for place in range(N_BINS)])
"""What stands for each bin, (N_BINS,) float64: within RELATIVE_ACCURACY of everything in it."""


def bin_of(ms: float) -> int:
    """The bin that a time belongs to: the mapping's key less FIRST_KEY, in a third of the time."""
    if ms <= LEAST_MS:
        return 0
    place = math.ceil(math.log(ms) * _PER_LOG) - FIRST_KEY
    return place if place < N_BINS else N_BINS - 1


def quantiles(bins: Bins, of: tuple[float, ...]) -> list[float | None]:
    """Milliseconds at each of the quantiles `of` (0 … 1) of what `bins` (N_BINS,) counted; None where it is nothing."""
    store = DenseStore()
    for place in bins.nonzero()[0].tolist():
        store.add(FIRST_KEY + place, float(bins[place]))
    sketch = BaseDDSketch(_mapping, store, DenseStore(), 0.0)
    return [sketch.get_quantile_value(each) for each in of]


def at_most(bins: Bins, bounds_ms: tuple[float, ...]) -> list[float]:
    """How many were no longer than each of the rising bounds, each time taken for the middle of its bin."""
    counts = np.concatenate([[0.0], np.cumsum(bins)])
    return [float(each) for each in counts[np.searchsorted(MIDDLES_MS, bounds_ms, side="right")]]
