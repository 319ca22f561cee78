"""The names, meanings and buckets of everything measured; knows nothing of how it is counted."""

from dataclasses import dataclass
from typing import Literal

# Milliseconds, dense where promises are made (5, 10, 15, 30, 50, 80, 150, 200): a quantile read from buckets is only as
# exact as its bucket is narrow.
STAGE_BUCKETS_MS = (
    *(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0),
    *(65.0, 80.0, 100.0, 150.0, 200.0, 300.0, 500.0),
)

# What one figure for all workers of a server means. A worker that has died no longer takes part.
AcrossWorkers = Literal["livesum", "livemin", "livemax", "livemostrecent"]


@dataclass(frozen=True)
class GaugeName:
    """A value that goes up and down. `label` names what there is one of each for, "" for a single value."""

    name: str
    help: str
    across: AcrossWorkers
    label: str = ""


GAUGES = (
    GaugeName("workers", "Worker processes alive.", "livesum"),
    GaugeName("requests_in_flight", "Requests being answered.", "livesum"),
    GaugeName("quality_factor", "Share of the full effort a request may use, 0.1 to 1.", "livemin", "region"),
    GaugeName(
        "guard_active", "1 while the region takes the fast path because its p99 was too high.", "livemax", "region"
    ),
    GaugeName("breaker_open", "1 while the circuit breaker is open, 0.5 while it probes.", "livemax", "breaker"),
    GaugeName("cache_bytes", "Bytes held by an in-process cache.", "livesum", "cache"),
    GaugeName("cache_entries", "Entries held by an in-process cache.", "livesum", "cache"),
    GaugeName("release_created_timestamp_seconds", "When the oldest release in use was made.", "livemin"),
    GaugeName("release_items", "Items in the release in use.", "livemin"),
    GaugeName("event_lag_seconds", "Age of the oldest accepted event not yet applied.", "livemax"),
    GaugeName("dead_letters", "Rejected events kept for replay.", "livemostrecent"),
)
