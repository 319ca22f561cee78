"""When requests are due: arrival times fixed before the run, so that no answer can postpone a question."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from upnext.errors import SettingsError

Arrivals = Literal["constant", "poisson"]
ARRIVALS: tuple[Arrivals, ...] = ("constant", "poisson")

# Arrival times and their records are held in memory: about 100 bytes a request, so a gigabyte at most.
MOST_REQUESTS = 10_000_000


def arrival_times_ms(kind: Arrivals, rate_per_s: float, seconds: float, seed: int = 0) -> npt.NDArray[np.float64]:
    """Intended starts in ms from the start of the run, ascending, (n_requests,) float64, all below `seconds`.

    `constant`: one every 1/rate, the first at 0. `poisson`: a Poisson process of that mean rate, as independent users
    make it, drawn as a Poisson count of sorted uniform times. Raises SettingsError for more than `MOST_REQUESTS`.
    """
    if rate_per_s <= 0 or seconds <= 0:
        raise SettingsError(f"a load of {rate_per_s:g}/s for {seconds:g} s asks nothing; both must be above 0")
    expected = rate_per_s * seconds
    if expected > MOST_REQUESTS:
        raise SettingsError(f"{expected:,.0f} requests do not fit one run; the most is {MOST_REQUESTS:,}")
    if kind == "constant":
        # Half a request of tolerance keeps rounding from adding one at the very end.
        return np.arange(max(1, round(expected)), dtype=np.float64) * (1e3 / rate_per_s)
    random = np.random.default_rng(seed)
    return np.sort(random.uniform(0.0, seconds * 1e3, max(1, random.poisson(expected))))
