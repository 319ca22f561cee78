"""What those who watch a server are told: the records, and how they are made of counts; keeps nothing, never waits."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from upnext.metrics.cells import Cell, Words
from upnext.metrics.exposition import across_workers
from upnext.metrics.names import (
    BREAKERS,
    BY_HISTORY,
    BY_REGION,
    BY_TIER,
    DEGRADED,
    HISTORIES,
    INGESTED,
    LONGEST_HISTORY,
    REFUSED,
    REJECTED,
    REQUESTS,
    STAGES,
    CounterName,
    TimesName,
)
from upnext.metrics.sketches import N_BINS, quantiles
from upnext.metrics.windows import Window
from upnext.metrics.workers import Totals

_QUANTILES = (0.5, 0.99, 0.999)
_ALL_OTHERS = f"0-{HISTORIES[-1][0]}"  # everybody but the power users


class Tail(msgspec.Struct, kw_only=True):
    """How long something took in the window; None where it did not happen. There is no mean on purpose."""

    name: str
    n: int
    per_s: float
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


class Counted(msgspec.Struct, kw_only=True):
    """How often something happened in the window, and what share of its kind that is."""

    name: str
    n: int
    per_s: float
    share: float


class BreakerFigures(msgspec.Struct, kw_only=True):
    """A circuit breaker: its state in the worker that answers.

    Of all workers together in how many it is not closed, and how often it opened in the window.
    """

    name: str
    state: str
    workers_open: int
    opened: int


class RegionFigures(msgspec.Struct, kw_only=True):
    """How requests of a region ("" for none, or one that no item names) are steered by the worker that answers."""

    region: str
    quality: float
    guard: bool  # of all workers


class Point(msgspec.Struct, kw_only=True):
    """One moment of the last quarter of an hour: what happened since the moment before."""

    at_ms: int
    per_s: float
    p99_ms: float | None
    p999_ms: float | None
    tiers: dict[str, float]  # shares
    routes: dict[str, float]
    accepted_per_s: float
    rejected_per_s: float


class FiguresResponse(msgspec.Struct, kw_only=True):
    """What all workers did in the last seconds, all tenants together."""

    at_ms: int
    window_s: float  # that was asked for
    covers_s: float  # that is known of it
    release: str  # in force in the worker that answers; "" for none
    stages: list[Tail]
    tiers: list[Tail]
    routes: list[Tail]
    regions: list[Tail]
    histories: list[Tail]  # by how many interactions the user has; the last is all but the power users
    tier_shares: list[Counted]
    route_shares: list[Counted]
    degraded: list[Counted]
    events: list[Counted]  # by what became of them
    rejected: list[Counted]  # by reason
    refused: list[Counted]  # requests, at the door
    breakers: list[BreakerFigures]
    steering: list[RegionFigures]
    gauges: dict[str, dict[str, float]]  # by name, then tenant and further labels with blanks between
    points: list[Point]  # oldest first


class Standing(msgspec.Struct, kw_only=True):
    """How one worker stands at a moment."""

    release: str = ""
    breakers: dict[str, str] = {}  # state by name
    steering: list[RegionFigures] = []


def figures_of(
    window: Window, totals: Totals, standing: Standing, *, at_ms: int, window_s: float, points: Sequence[Point]
) -> FiguresResponse:
    """All figures of one window."""
    gauges = across_workers(totals)
    return FiguresResponse(
        at_ms=at_ms,
        window_s=window_s,
        covers_s=round(window.covers_s, 3),
        release=standing.release,
        stages=_tails(window, _bins(window, STAGES, 0)),
        tiers=_tails(window, _bins(window, BY_TIER, 0)),
        routes=_tails(window, _bins(window, BY_TIER, 1)),
        regions=_tails(window, _bins(window, BY_REGION, 0)),
        histories=_tails(window, _by_history(window)),
        tier_shares=_counted(window, _by_label(_counts(window, REQUESTS), 0)),
        route_shares=_counted(window, _by_label(_counts(window, REQUESTS), 1)),
        degraded=_counted(window, {": ".join(labels): n for labels, n in _counts(window, DEGRADED).items()}),
        events=_counted(window, _by_label(_counts(window, INGESTED), 0)),
        rejected=_counted(window, _by_label(_counts(window, REJECTED), 0)),
        refused=_counted(window, _by_label(_counts(window, REFUSED), 0)),
        breakers=_breakers(window, standing, gauges.get("breakers_open", {})),
        steering=standing.steering,
        gauges={name: {" ".join(labels): value for labels, value in of.items()} for name, of in gauges.items()},
        points=list(points),
    )


def _breakers(
    window: Window, standing: Standing, workers_open: Mapping[tuple[str, ...], float]
) -> list[BreakerFigures]:
    """`workers_open` by tenant and breaker."""
    opened = {name: n for (name, state), n in _counts(window, BREAKERS).items() if state == "open"}
    open_in = _by_label(workers_open, 1)
    return [
        BreakerFigures(
            name=name, state=state, workers_open=round(open_in.get(name, 0)), opened=round(opened.get(name, 0))
        )
        for name, state in standing.breakers.items()
    ]


def point_of(window: Window, at_ms: int) -> Point:
    """What a short window comes to, for drawing."""
    requests = _counts(window, REQUESTS)
    total = _bins(window, STAGES, 0).get("total", np.zeros(N_BINS))
    _, p99_ms, p999_ms = quantiles(total, _QUANTILES)
    seconds = window.covers_s
    return Point(
        at_ms=at_ms,
        per_s=_per_s(sum(requests.values()), seconds),
        p99_ms=_rounded(p99_ms),
        p999_ms=_rounded(p999_ms),
        tiers=_shares(_by_label(requests, 0)),
        routes=_shares(_by_label(requests, 1)),
        accepted_per_s=_per_s(_by_label(_counts(window, INGESTED), 0).get("accepted", 0.0), seconds),
        rejected_per_s=_per_s(sum(_counts(window, REJECTED).values()), seconds),
    )


def _counts(window: Window, counter: CounterName) -> dict[tuple[str, ...], float]:
    return {cell.labels: float(words[0]) for cell, words in _of(window, counter.name)}


def _of(window: Window, family: str) -> Iterable[tuple[Cell, Words]]:
    return ((cell, words) for cell, words in window.counts.items() if cell.family == family)


def _bins(window: Window, times: TimesName, label: int) -> dict[str, Words]:
    """Of each value of one label the bins of all the others together, which is exact."""
    found: dict[str, Words] = {}
    for cell, words in _of(window, times.name):
        name = cell.labels[label]
        found[name] = found[name] + words[1:] if name in found else words[1:]
    return found


def _by_history(window: Window) -> dict[str, Words]:
    bins = _bins(window, BY_HISTORY, 0)
    names = [*(name for _, name in HISTORIES), LONGEST_HISTORY]
    found = {name: bins.get(name, np.zeros(N_BINS)) for name in names}
    return found | {_ALL_OTHERS: sum((found[name] for _, name in HISTORIES), np.zeros(N_BINS))}


def _tails(window: Window, bins: Mapping[str, Words]) -> list[Tail]:
    """In the order of names as given: stages in that of a request, since they are first counted so."""
    found = []
    for name, counts in bins.items():
        p50_ms, p99_ms, p999_ms = map(_rounded, quantiles(counts, _QUANTILES))
        n = round(float(counts.sum()))
        per_s = _per_s(n, window.covers_s)
        found.append(Tail(name=name, n=n, per_s=per_s, p50_ms=p50_ms, p99_ms=p99_ms, p999_ms=p999_ms))
    return found


def _by_label(counts: Mapping[tuple[str, ...], float], label: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels, n in counts.items():
        found[labels[label]] = found.get(labels[label], 0.0) + n
    return found


def _counted(window: Window, counts: Mapping[str, float]) -> list[Counted]:
    """Most frequent first."""
    shares = _shares(counts)
    return [
        Counted(name=name, n=round(n), per_s=_per_s(n, window.covers_s), share=shares[name])
        for name, n in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    ]


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: round(n / total, 4) for name, n in counts.items()} if total else {}


def _per_s(n: float, seconds: float) -> float:
    return round(n / seconds, 2) if seconds else 0.0


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
