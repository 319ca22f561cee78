"""What a stage costs, learnt from what it cost: the p99 of each; knows no deadline, and starts nothing."""

import math

from upnext.settings import PressureSettings

_PER_OCTAVE = 8  # buckets: each 9 % wide
_LEAST_OCTAVE, _MOST_OCTAVE = -10, 14  # from 1 µs to 16 s
_BUCKETS = (_MOST_OCTAVE - _LEAST_OCTAVE) * _PER_OCTAVE
_OFFSET = -_LEAST_OCTAVE * _PER_OCTAVE
_LEAST_MS, _MOST_MS = 2.0**_LEAST_OCTAVE, 2.0**_MOST_OCTAVE
_UPPER_MS = [2.0 ** ((bucket + 1 - _OFFSET) / _PER_OCTAVE) for bucket in range(_BUCKETS)]
_EVERY = 64  # calls between two estimates, once there are so many
_TRIAL_AFTER = 99  # calls left out in a row


class _Cost:
    """One stage's histogram, and the p99 read off it a moment ago."""

    __slots__ = ("batch", "calls", "p99_ms", "skipped", "weights")

    def __init__(self) -> None:
        self.skipped = 0  # in a row
        self.p99_ms = 0.0
        self.forget()

    def forget(self) -> None:
        """The next call is estimated at once, from itself alone."""
        self.weights = [0.0] * _BUCKETS
        self.batch = 1  # calls from the last estimate to the next
        self.calls = 0  # how many of them there were


class StageCosts:
    """p99 of each stage's cost, over about the last 1.4 half-lives of calls.

    Costs fall into buckets spaced by their logarithm, so the p99 is at most 9 % above the true one, and never below
    it. Weights halve with a number of calls, not with time: a quiet night forgets nothing. Estimates are made after 1,
    2, 4 … and then every 64 calls.

    A stage that is left out because of its cost is not observed, and would be left out for ever after a bad moment.
    So `skipped` must be told: once 99 calls in a row were left out, the stage seems to cost nothing to whoever asks
    next, which is a trial. When it costs less than what it was left out for, the bad moment is over, and all that was
    learnt before is forgotten. A stage which is truly too slow is so tried by 1 % of requests, as many as a p99 leaves
    late.

    For one thread; more of them may lose a few observations, and nothing else.
    """

    def __init__(self, settings: PressureSettings) -> None:
        self._decay = 0.5 ** (1 / settings.stage_half_life_calls)
        self._costs: dict[str, _Cost] = {}

    def observe(self, stage: str, spent_ms: float) -> None:
        """A call of `stage` took so long. 0.4 µs. Stages are few, and named by the code, never by a request."""
        cost = self._costs.get(stage)
        if cost is None:
            cost = self._costs.setdefault(stage, _Cost())
        if cost.skipped:
            if cost.skipped >= _TRIAL_AFTER and spent_ms < cost.p99_ms:
                cost.forget()
            cost.skipped = 0
        self._add(cost, spent_ms)

    def skipped(self, stage: str) -> None:
        """A request went on without `stage`, because its p99 did not fit in what was left."""
        cost = self._costs.get(stage)
        if cost is not None:
            cost.skipped += 1

    def p99_ms(self, stage: str) -> float:
        """0.0 before anything is known, and for a trial: a stage of unknown cost is started."""
        cost = self._costs.get(stage)
        return cost.p99_ms if cost is not None and cost.skipped < _TRIAL_AFTER else 0.0

    def _add(self, cost: _Cost, spent_ms: float) -> None:
        if spent_ms >= _MOST_MS:
            bucket = _BUCKETS - 1
        elif spent_ms > _LEAST_MS:
            bucket = int(math.log2(spent_ms) * _PER_OCTAVE + _OFFSET)
        else:
            bucket = 0
        cost.weights[bucket] += 1.0
        cost.calls += 1
        if cost.calls >= cost.batch:
            self._estimate(cost)

    def _estimate(self, cost: _Cost) -> None:
        fading = self._decay**cost.calls
        weights = cost.weights
        tail = sum(weights) * 0.01
        for bucket in range(_BUCKETS - 1, -1, -1):
            tail -= weights[bucket]
            if tail < 0:  # nearest rank: at most 1 % of the weight is above
                cost.p99_ms = _UPPER_MS[bucket]
                break
        cost.weights = [weight * fading for weight in weights]
        cost.batch, cost.calls = min(2 * cost.batch, _EVERY), 0
