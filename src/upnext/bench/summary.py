"""From the samples of a run to the figures people read; pure, so every figure has a test with a known answer."""

import math
from collections import Counter

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.bench.replies import ReplyCounts, count_replies
from upnext.bench.run import Run
from upnext.bench.samples import Outcome

Milliseconds = npt.NDArray[np.float64]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)

_FAILURE = {
    Outcome.UNSENT: "unsent",
    Outcome.PENDING: "unanswered",
    Outcome.TIMED_OUT: "timed_out",
    Outcome.CLOSED: "connection_closed",
    Outcome.MALFORMED: "malformed_reply",
}


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of one quantity in ms; each is a value that occurred. NaN (null in JSON) without samples."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What the answers say. Shares are of the `bodies_read`, which are all, or evenly sampled when they are many."""

    stages_ms: dict[str, Spread]
    tiers: dict[str, float]
    routes: dict[str, float]
    degraded_share: float
    degradations: dict[str, float]  # by "stage: why"
    slate_lengths: dict[str, int]
    bodies_read: int
    bodies_unreadable: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One run in figures.

    `latency_ms` is over answered (2xx) requests from their intended start, and over those never answered with the time
    they had waited: leaving the worst out would flatter. `lateness_ms` is the generator's own delay, over requests
    that did not have to wait for a free connection; where it nears the latency, believe neither.
    `achieved_per_s` counts the answers that came within the `seconds`, whenever they were asked.
    """

    seconds: float
    offered_per_s: float
    achieved_per_s: float
    requests: int
    answered: int
    failed: int
    failures: dict[str, int]
    statuses: dict[str, int]
    queued_share: float
    latency_ms: Spread
    lateness_ms: Spread
    answers: Answers


def percentile(sorted_values: Milliseconds, percent: float) -> float:
    """The smallest of the ascending values that at least `percent` % do not exceed (nearest rank); NaN of none."""
    count = len(sorted_values)
    if count == 0:
        return math.nan
    # 41,000 * 99.9 / 100 is a hair above 40,959 in floating point, which must not become rank 40,960.
    rank = math.ceil(count * percent / 100 - 1e-9)
    return float(sorted_values[max(rank, 1) - 1])


def spread(values: Milliseconds) -> Spread:
    """Exact percentiles over all the values, (n,) float64, in any order."""
    ordered = np.sort(values)
    p50, p90, p99, p999 = (percentile(ordered, percent) for percent in PERCENTILES)
    mean, most = (float(ordered.mean()), float(ordered[-1])) if len(ordered) else (math.nan, math.nan)
    return Spread(count=len(ordered), mean=mean, p50=p50, p90=p90, p99=p99, p999=p999, max=most)


def latencies_ms(run: Run) -> Milliseconds:
    """Latency of each request that counts, (n,) float64: see `Summary.latency_ms`."""
    table = _Table(run)
    waited_ms = np.where(np.isnan(table.done_ms), run.ended_ms, table.done_ms) - table.intended_ms
    late = np.isin(table.outcome, (Outcome.UNSENT, Outcome.PENDING, Outcome.TIMED_OUT))
    counted: Milliseconds = waited_ms[table.inside & (table.ok | late)]
    return counted


def summarize(run: Run) -> Summary:
    """The figures of the run after its warm-up."""
    table = _Table(run)
    plan, inside = run.plan, table.inside
    from_ms, to_ms = plan.warmup_s * 1e3, (plan.warmup_s + plan.seconds) * 1e3
    failures = _failures(table)
    replied = inside & (table.outcome == Outcome.REPLIED)
    prompt = inside & (table.queued == 0) & ~np.isnan(table.sent_ms)
    return Summary(
        seconds=plan.seconds,
        offered_per_s=float(inside.sum()) / plan.seconds,
        achieved_per_s=float((table.ok & (table.done_ms >= from_ms) & (table.done_ms < to_ms)).sum()) / plan.seconds,
        requests=int(inside.sum()),
        answered=int((inside & table.ok).sum()),
        failed=sum(failures.values()),
        failures=failures,
        statuses={str(status): count for status, count in sorted(Counter(table.status[replied].tolist()).items())},
        queued_share=float(table.queued[inside].mean()) if inside.any() else 0.0,
        latency_ms=spread(latencies_ms(run)),
        lateness_ms=spread((table.sent_ms - table.intended_ms)[prompt]),
        answers=_answers(count_replies((index, body) for index, body in run.samples.bodies if inside[index])),
    )


class _Table:
    """The samples as arrays, and which rows count: those intended after the warm-up and before the end."""

    def __init__(self, run: Run) -> None:
        samples, plan = run.samples, run.plan
        self.intended_ms = np.frombuffer(samples.intended_ms, dtype=np.float64)
        self.sent_ms = np.frombuffer(samples.sent_ms, dtype=np.float64)
        self.done_ms = np.frombuffer(samples.done_ms, dtype=np.float64)
        self.queued = np.frombuffer(samples.queued, dtype=np.int8)
        self.outcome = np.frombuffer(samples.outcome, dtype=np.int8)
        self.status = np.frombuffer(samples.status, dtype=np.int16)
        self.ok = (self.outcome == Outcome.REPLIED) & (self.status // 100 == 2)
        end_ms = (plan.warmup_s + plan.seconds) * 1e3
        self.inside = (self.intended_ms >= plan.warmup_s * 1e3) & (self.intended_ms < end_ms)


def _failures(table: _Table) -> dict[str, int]:
    """Requests without a 2xx answer, by kind; `status_503` for a reply that refuses."""
    unanswered = table.outcome[table.inside & (table.outcome != Outcome.REPLIED)]
    kinds = Counter(_FAILURE[Outcome(code)] for code in unanswered)
    refused = table.inside & (table.outcome == Outcome.REPLIED) & ~table.ok
    kinds.update(f"status_{status}" for status in table.status[refused])
    return dict(sorted(kinds.items()))


def _answers(counts: ReplyCounts) -> Answers:
    read = max(counts.read, 1)

    def shares(counter: Counter[str]) -> dict[str, float]:
        return {name: count / read for name, count in counter.most_common()}

    return Answers(
        stages_ms={stage: spread(np.array(spent_ms)) for stage, spent_ms in counts.stages_ms.items()},
        tiers=shares(counts.tiers),
        routes=shares(counts.routes),
        degraded_share=counts.degraded / read,
        degradations=shares(counts.degradations),
        slate_lengths={str(length): count for length, count in sorted(counts.slate_lengths.items())},
        bodies_read=counts.read,
        bodies_unreadable=counts.unreadable,
    )
