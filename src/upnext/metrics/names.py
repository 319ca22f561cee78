"""The names, meanings and buckets of everything measured; knows nothing of how it is counted."""

from dataclasses import dataclass
from typing import Literal

# Milliseconds, dense where promises are made (5, 10, 15, 30, 50, 80, 150, 200): a quantile that Prometheus reads from
# buckets is only as exact as its bucket is narrow. The console's come from bins of 2 %.
BUCKETS_MS = (
    *(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0),
    *(65.0, 80.0, 100.0, 150.0, 200.0, 300.0, 500.0),
)


@dataclass(frozen=True)
class CounterName:
    """What only grows."""

    name: str
    help: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class TimesName:
    """How long something took, in seconds for Prometheus."""

    name: str
    help: str
    labels: tuple[str, ...]


REQUESTS = CounterName("requests", "Requests answered.", ("tier", "route"))
DEGRADED = CounterName("degraded", "Times a request got less than it could have.", ("stage", "why"))
REJECTED = CounterName("events_rejected", "Records that broke their contract.", ("reason",))
INGESTED = CounterName("events", "Events that kept their contract.", ("outcome",))
BREAKERS = CounterName("breaker_transitions", "Times a circuit breaker changed.", ("breaker", "state"))
REFUSED = CounterName("requests_refused", "Requests refused at the door.", ("why",))
COUNTERS = (REQUESTS, DEGRADED, REJECTED, INGESTED, BREAKERS, REFUSED)

STAGES = TimesName(
    "stage_duration_seconds", "Time spent in a stage of a request; the stage `total` is the whole of it.", ("stage",)
)
BY_TIER = TimesName("request_duration_seconds", "Time a slate took, by its tier and route.", ("tier", "route"))
BY_REGION = TimesName("region_duration_seconds", "Time a slate took, by the region of the request.", ("region",))
BY_HISTORY = TimesName(
    "history_duration_seconds", "Time a slate took, by how many interactions its user has.", ("interactions",)
)
TIMES = (STAGES, BY_TIER, BY_REGION, BY_HISTORY)

# Up to so many interactions, and what such users are called.
HISTORIES = ((0, "0"), (4, "1-4"), (49, "5-49"), (499, "50-499"))
LONGEST_HISTORY = "500+"

# What one figure for all workers of a server means. A worker that has died no longer takes part.
AcrossWorkers = Literal["livesum", "livemin", "livemax"]


@dataclass(frozen=True)
class GaugeName:
    """A value that goes up and down."""

    name: str
    help: str
    across: AcrossWorkers
    labels: tuple[str, ...] = ("tenant",)


GAUGES = (
    GaugeName("workers", "Worker processes alive.", "livesum"),
    GaugeName("release_created_timestamp_seconds", "When the oldest release in use was made.", "livemin"),
    GaugeName("log_events", "Number of the newest event in the log.", "livemax"),
    GaugeName("session_lag_events", "Events in the log that users' states have not applied.", "livemax"),
    GaugeName("crowd_lag_events", "Events in the log that the slowest worker's counts of the crowd lack.", "livemax"),
    GaugeName("impressions_lag_events", "Events in the log not joined to slates yet.", "livemax"),
    GaugeName("write_queue_events", "Events that wait for their commit.", "livesum"),
    GaugeName("dead_letters", "Refused parts kept for a second try.", "livemax"),
    GaugeName("dead_letters_bytes", "Size of the refused parts kept.", "livemax"),
    GaugeName("dead_letters_dropped", "Refused parts dropped for their age, or for want of room.", "livemax"),
    GaugeName("slates_kept", "Served slates kept for training since the workers started.", "livesum"),
    GaugeName("slates_dropped", "Served slates not kept, or dropped again, for want of room.", "livesum"),
    GaugeName("fresh_items", "Items posted since the release was made, that have a place in it.", "livemin"),
    GaugeName("fresh_items_waiting", "Posted items that the release has no place for; train a new one.", "livemax"),
    GaugeName("admission_limit", "Full requests that the workers take on at once.", "livesum"),
    GaugeName("quality_factor", "Quality factor of requests without a known region, of the worst worker.", "livemin"),
    GaugeName("breakers_open", "Workers in which a circuit breaker is not closed.", "livesum", ("tenant", "breaker")),
    GaugeName("threads_lost", "Threads lost to models that hang.", "livesum"),
    GaugeName("shortlists_at_hand", "Shortlists in the workers' own memory.", "livesum"),
    GaugeName("shortlists_bytes", "What they take, about.", "livesum"),
    GaugeName("shortlists_dropped", "Shortlists that other workers will not find, since too many waited.", "livesum"),
    GaugeName("shortlists_trusted", "1 while every worker hears of all changes of states, 0 otherwise.", "livemin"),
    GaugeName("occasions_made", "Shortlists worked out for a pause or the opening of the app.", "livesum"),
    GaugeName("occasions_dropped", "Such occasions passed over, since nobody had time.", "livesum"),
    GaugeName("release_items", "Items in the release in use.", "livemin"),
)
