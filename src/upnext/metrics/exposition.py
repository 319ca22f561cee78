"""Totals as Prometheus text; counts nothing."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from upnext.metrics.cells import Cell, Labels, Words
from upnext.metrics.names import BUCKETS_MS, COUNTERS, GAUGES, TIMES, AcrossWorkers, TimesName
from upnext.metrics.sketches import at_most
from upnext.metrics.workers import Totals

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_ACROSS: dict[AcrossWorkers, Any] = {"livesum": sum, "livemin": min, "livemax": max}
_BOUNDS = [f"{bound_ms / 1e3:g}" for bound_ms in BUCKETS_MS]


def exposition_of(totals: Totals) -> bytes:
    """All of `totals`, in the order of `names`, with a line for each family that nobody has counted in."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(totals))
    return generate_latest(registry)


def across_workers(totals: Totals) -> dict[str, dict[Labels, float]]:
    """What each gauge stands at for the whole server, by name and labels, the tenant first."""
    gauges = {gauge.name: gauge.across for gauge in GAUGES}
    found: dict[str, dict[Labels, float]] = {}
    for cell, values in totals.gauges.items():
        found.setdefault(cell.family, {})[cell.labels] = _ACROSS[gauges[cell.family]](values)
    return found


class _Once(Collector):
    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        counts = {
            family: list(cells)
            for family, cells in groupby(
                sorted(self._totals.counts.items(), key=lambda each: each[0]), key=lambda each: each[0].family
            )
        }
        for times in TIMES:
            yield _times(times, counts.get(times.name, []))
        for counter in COUNTERS:
            family = CounterMetricFamily(f"upnext_{counter.name}", counter.help, labels=counter.labels)
            for cell, words in counts.get(counter.name, ()):
                family.add_metric(cell.labels, float(words[0]))
            yield family
        gauges = across_workers(self._totals)
        for gauge in GAUGES:
            standing = GaugeMetricFamily(f"upnext_{gauge.name}", gauge.help, labels=gauge.labels)
            for labels, value in sorted(gauges.get(gauge.name, {}).items()):
                standing.add_metric(labels, value)
            yield standing


def _times(times: TimesName, cells: list[tuple[Cell, Words]]) -> Metric:
    family = HistogramMetricFamily(f"upnext_{times.name}", times.help, labels=times.labels)
    for cell, words in cells:
        bins = words[1:]
        buckets = list(zip(_BOUNDS, at_most(bins, BUCKETS_MS), strict=True))
        family.add_metric(cell.labels, [*buckets, ("+Inf", float(bins.sum()))], sum_value=float(words[0]) / 1e3)
    return family
