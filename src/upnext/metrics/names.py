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
AcrossWorkers = Literal["livesum", "livemin"]


@dataclass(frozen=True)
class GaugeName:
    """A value that goes up and down."""

    name: str
    help: str
    across: AcrossWorkers


GAUGES = (
    GaugeName("workers", "Worker processes alive.", "livesum"),
    GaugeName("release_created_timestamp_seconds", "When the oldest release in use was made.", "livemin"),
    GaugeName("release_items", "Items in the release in use.", "livemin"),
)
