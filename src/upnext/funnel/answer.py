"""The answer to one request: always a ranking it could be served from, replaced by each stage with a better one."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upnext.state.shortlist import Shortlist

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
TIERS = ("popular", "fast", "full")  # from the worst to the best


@dataclass(slots=True, frozen=True)
class Ranked:
    """Items in the order a stage put them, best first, before any rule."""

    tier: str
    rows: Rows  # (n,) distinct
    scores: Floats  # (n,) of the stage's own scale
    sources: npt.NDArray[np.uint16]  # (n,) a bit for every source that returned the item


@dataclass(slots=True, frozen=True)
class RankerInputs:
    """What the ranker was given for one request, as it was given it; nobody writes to these arrays any more."""

    rows: Rows  # (n,) distinct, every candidate
    user: Floats  # (n_user_features,)
    cross: Floats  # (n, n_cross_features)


@dataclass(slots=True)
class Degraded:
    """A stage that did not contribute, and why: deadline, no_time, error, absent, breaker_open."""

    stage: str
    why: str


@dataclass(slots=True)
class Answer:
    """Written by one worker thread, read by the event loop at any moment. `ranked` never gets worse.

    No lock is needed: fields are only replaced and lists only grow. `seen_rows` is set before any ranking made with it
    is offered, so whoever reads `ranked` first never holds a ranking against seen items older than its own; and
    `inputs` before the ranking of the full tier, so whoever holds that one has them too.
    """

    ranked: Ranked
    below: list[Ranked] = field(default_factory=list)  # what was held before, best last
    degraded: list[Degraded] = field(default_factory=list)
    timing_ms: dict[str, float] = field(default_factory=dict)  # of each stage that is through
    slate: "Slate | None" = None  # set once, when all stages are through
    state_version: int = 0
    n_interactions: int = 0  # of the state that was read
    n_moves: int = 0  # … see `UserState`
    state_read: bool = False  # whether `seen_rows` is what the user has seen, or not known yet
    seen_rows: Rows = field(default_factory=lambda: np.empty(0, np.int32))
    capture: bool = False  # whether to keep what the ranker was given, to learn from
    inputs: RankerInputs | None = None  # … which is here once it has ranked
    exit: str = ""  # of the ranker, once it has ranked; set before the ranking of the full tier, as `inputs` is
    route: str = "live"  # by which it is answered, one of `route.ROUTES`
    why: str = "absent"  # … and the one reason for that
    shortlist: Shortlist | None = None  # that was found beside the user's state, and answers the request
    running: list[str] = field(default_factory=list)  # the stage under way, if any; see `Stages`

    def offer(self, ranked: Ranked) -> None:
        """Takes a ranking of a tier at least as good as the one held; a worse or empty one is ignored."""
        if len(ranked.rows) and TIERS.index(ranked.tier) >= TIERS.index(self.ranked.tier):
            self.below.append(self.ranked)
            self.ranked = ranked

    def degrade(self, stage: str, why: str) -> None:
        """Notes that `stage` did not contribute."""
        self.degraded.append(Degraded(stage, why))


@dataclass(slots=True, frozen=True)
class Slate:
    """What leaves: at most k items after the rules, best first."""

    tier: str
    rows: Rows
    scores: Floats
    sources: npt.NDArray[np.uint16]
