"""Counting what a server process does, cheaply, and saying it in Prometheus text; knows no HTTP."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from upnext.metrics.names import GAUGES, STAGE_BUCKETS_MS
from upnext.metrics.workers import exposition_of_all, shared_directory

# Labels come from code, not from users; should one slip through, memory stays bounded and the rest is named `other`.
MOST_SERIES = 200

Labels = tuple[str, ...]


class Metrics:
    """The counts of one process, made once and handed down. Every method may be called from any thread.

    When the process was started under `share_between_workers`, counts are kept where all workers see them and every
    worker's `exposition` speaks for all. Counting takes 1 to 3 µs.
    """

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        # A time stamp per series, which nobody reads and which lengthens the text by half.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._directory = shared_directory()
        self._registry = CollectorRegistry()
        self._stages = Histogram(
            "upnext_stage_duration_seconds",
            "Time spent in a stage of a request; the stage `total` is the whole of it.",
            ["stage"],
            buckets=[bound_ms / 1e3 for bound_ms in STAGE_BUCKETS_MS],
            registry=self._registry,
        )
        self._requests = self._counter("requests", "Requests answered.", "tier", "route")
        self._degraded = self._counter("degraded", "Times a request got less than it could have.", "stage", "why")
        self._rejected = self._counter("events_rejected", "Records that broke their contract.", "reason")
        self._ingested = self._counter("events", "Events that kept their contract.", "outcome")
        self._breakers = self._counter("breaker_transitions", "Times a circuit breaker changed.", "breaker", "state")
        self._refused = self._counter("requests_refused", "Requests refused at the door.", "why")
        self._gauges = {
            gauge.name: Gauge(
                f"upnext_{gauge.name}",
                gauge.help,
                ["tenant"],
                registry=self._registry,
                multiprocess_mode=gauge.across,
            )
            for gauge in GAUGES
        }
        self._observers: dict[str, Callable[[float], None]] = {}
        self._increments: dict[tuple[str, Labels], Callable[[float], None]] = {}

    def observe_stage(self, stage: str, spent_ms: float) -> None:
        """One passage through a stage took `spent_ms`."""
        observe = self._observers.get(stage)
        if observe is None:
            stage = stage if len(self._observers) < MOST_SERIES else "other"
            observe = self._observers[stage] = self._stages.labels(stage).observe
        observe(spent_ms * 1e-3)

    def count_request(self, tier: str, route: str) -> None:
        """One request was answered."""
        self._increment(self._requests, (tier, route))

    def count_degraded(self, stage: str, why: str) -> None:
        """A stage was skipped, cut short or replaced in one request."""
        self._increment(self._degraded, (stage, why))

    def count_rejected(self, reason: str) -> None:
        """One event was refused; `reason` is the short code of the ContractError."""
        self._increment(self._rejected, (reason,))

    def count_ingested(self, accepted: int, duplicates: int = 0, withheld: int = 0) -> None:
        """Events of one request: newly durable, there already, and let go for want of consent."""
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("withheld", withheld)):
            if count:
                self._increment(self._ingested, (outcome,), count)

    def count_refused(self, why: str) -> None:
        """A request was refused at the door: `unauthorized`, `forbidden`, `unknown_tenant`, `rate_limited`."""
        self._increment(self._refused, (why,))

    def count_breaker(self, name: str, state: str) -> None:
        """A circuit breaker is in another state now: `closed`, `open`, `half_open`."""
        self._increment(self._breakers, (name, state))

    def set_gauge(self, name: str, value: float, tenant: str = "default") -> None:
        """A gauge of `names.GAUGES` stands at `value` for a tenant. KeyError for others."""
        self._gauges[name].labels(tenant).set(value)

    def exposition(self) -> bytes:
        """All counts in Prometheus text; of all workers, living and dead, where they share. Takes milliseconds."""
        return generate_latest(self._registry) if self._directory is None else exposition_of_all(self._directory)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"upnext_{name}", meaning, labels, registry=self._registry)

    def _increment(self, counter: Counter, labels: Labels, by: float = 1.0) -> None:
        key = (counter._name, labels)
        increment = self._increments.get(key)
        if increment is None:
            if len(self._increments) >= MOST_SERIES:
                key = (counter._name, ("other",) * len(labels))
            increment = self._increments[key] = counter.labels(*key[1]).inc
        increment(by)
