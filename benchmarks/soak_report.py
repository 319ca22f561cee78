"""What became of a server over many minutes: figures of each, the verdict, a table. Measures nothing."""

import statistics
from collections import Counter
from collections.abc import Callable

import msgspec

from upnext.bench.summary import Summary

_MIB = 2**20
_MOST_GROWTH = 0.02
_COMPARED = 5  # minutes at each end, at most


class Worker(msgspec.Struct, frozen=True):
    """One process at one moment; memory in bytes."""

    process: int
    pss: int
    anonymous: int
    files: int
    shared: int
    threads: int
    descriptors: int


class Minute(msgspec.Struct, frozen=True):
    """One minute of load, and the workers after it."""

    number: int
    slates: Summary
    others: dict[str, int]  # answers to events and items, by path and status
    workers: list[Worker]

    @property
    def pss(self) -> int:
        return sum(worker.pss for worker in self.workers)

    @property
    def anonymous(self) -> int:
        return sum(worker.anonymous + worker.shared for worker in self.workers)

    @property
    def threads(self) -> int:
        return sum(worker.threads for worker in self.workers)

    @property
    def descriptors(self) -> int:
        return sum(worker.descriptors for worker in self.workers)


class Verdict(msgspec.Struct, frozen=True):
    """Growth after the first minutes: shares, and counts."""

    pss: float
    anonymous: float
    threads: int
    descriptors: int
    broken: list[str]


def verdict_on(minutes: list[Minute], warm_minutes: int, judge: str) -> Verdict:
    """Of all workers together."""
    left = minutes[warm_minutes:] or minutes
    n = max(min(_COMPARED, len(left) // 2), 1)
    first, last = left[:n], left[-n:]

    def growth(size_of: Callable[[Minute], int]) -> float:
        return statistics.median(map(size_of, last)) / statistics.median(map(size_of, first)) - 1

    def more(count_of: Callable[[Minute], int]) -> int:
        return min(map(count_of, last)) - min(map(count_of, first))

    pss, anonymous = growth(lambda minute: minute.pss), growth(lambda minute: minute.anonymous)
    threads, descriptors = more(lambda minute: minute.threads), more(lambda minute: minute.descriptors)
    grown = pss if judge == "pss" else anonymous
    found = [f"memory ({judge}) grew by {grown:.1%}"] if grown >= _MOST_GROWTH else []
    found += [f"{threads} more threads"] if threads > 0 else []
    found += [f"{descriptors} more descriptors"] if descriptors > 0 else []
    if len({tuple(sorted(worker.process for worker in minute.workers)) for minute in minutes}) > 1:
        found.append("a worker was replaced")
    failed = sum(minute.slates.failed for minute in minutes)
    found += [f"{failed} requests for slates failed"] if failed else []
    other = Counter({kind: n for minute in minutes for kind, n in minute.others.items() if not kind.endswith(" 200")})
    found += [f"events or items were answered otherwise: {dict(other)}"] if other else []
    return Verdict(pss, anonymous, threads, descriptors, found)


_HEADER = (
    "| minute | PSS MiB by worker | anonymous | files | shared | threads | descriptors | answered | full | p50 ms "
    "| p99 ms | max ms | events and items |\n|---:|---|---|---|---|---|---|---:|---:|---:|---:|---:|---|"
)


def row_of(minute: Minute) -> str:
    def by_worker(value_of: Callable[[Worker], object]) -> str:
        return ", ".join(str(value_of(worker)) for worker in minute.workers)

    slates, ms = minute.slates, minute.slates.latency_ms
    cells = (
        str(minute.number),
        by_worker(lambda worker: f"{worker.pss / _MIB:.1f}"),
        by_worker(lambda worker: f"{worker.anonymous / _MIB:.1f}"),
        by_worker(lambda worker: f"{worker.files / _MIB:.1f}"),
        by_worker(lambda worker: f"{worker.shared / _MIB:.1f}"),
        by_worker(lambda worker: worker.threads),
        by_worker(lambda worker: worker.descriptors),
        f"{slates.answered:,} of {slates.requests:,}",
        f"{slates.answers.tiers.get('full', 0.0):.1%}",
        *(f"{value:.1f}" for value in (ms.p50, ms.p99, ms.max)),
        ", ".join(f"{kind}: {n:,}" for kind, n in sorted(minute.others.items())),
    )
    return f"| {' | '.join(cells)} |"


def table_of(minutes: list[Minute], verdict: Verdict, warm_minutes: int) -> str:
    lines = [
        _HEADER,
        *map(row_of, minutes),
        "",
        f"After the first {warm_minutes} minutes: memory (PSS) {verdict.pss:+.2%}, of that anonymous and shared "
        f"{verdict.anonymous:+.2%}; threads {verdict.threads:+d}, descriptors {verdict.descriptors:+d}.",
        "",
        *([f"BROKEN: {what}" for what in verdict.broken] or ["Nothing is broken."]),
    ]
    return "\n".join(lines) + "\n"
