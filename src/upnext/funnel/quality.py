"""How much work a request of a region may be, between 0.1 and 1, from how many before it were late."""

from upnext.settings import PressureSettings


class QualityFactor:
    """One factor per region: up by `d` with a request in time, down by `d·p / (100 − p)` with one that was late.

    Both are in balance exactly when `100 − p` percent are late, whatever the load: stochastic approximation of the
    quantile (Robbins and Monro, A stochastic approximation method, 1951), with the work done in place of the level.
    As long as no end is met, late requests in n are within 0.9 / (n·d·100) of that share (p = 99).

    For one thread of a worker. None and "" are the same region. Regions past the bound share one factor.
    """

    def __init__(self, settings: PressureSettings) -> None:
        p = settings.quality_percentile
        self._up = settings.quality_step
        self._down = settings.quality_step * p / (100.0 - p)
        self._least = settings.quality_least
        self._most_regions = settings.regions
        self._factors: dict[str, float] = {}
        self._shared = 1.0

    def observe(self, region: str | None, in_time: bool) -> None:
        """A request of `region` was answered in the time it was promised, or was not."""
        region = region or ""
        factors = self._factors
        own = region in factors or len(factors) < self._most_regions
        before = factors.get(region, 1.0) if own else self._shared
        after = min(1.0, before + self._up) if in_time else max(self._least, before - self._down)
        if own:
            factors[region] = after
        else:
            self._shared = after

    def of(self, region: str | None) -> float:
        """The factor by which candidates and depth of the next request are scaled: 1.0 is all of the work."""
        return self._factors.get(region or "", self._shared)  # the shared one is 1.0 until others need it
