"""What the bodies of a run say about themselves: tier, route, stages; decoded after the run, never during it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec


class _Degraded(msgspec.Struct):
    stage: str = ""
    why: str = ""


class _Reply(msgspec.Struct):
    """The fields read; all others are skipped. Each is optional, so any server's JSON will do."""

    items: list[msgspec.Raw] = []
    tier: str = ""
    route: str = ""
    degraded: list[_Degraded] = []
    timing_ms: dict[str, float] = {}


@dataclass
class ReplyCounts:
    """Counts over the bodies read. `tier_of` keeps the tier per request index, "" where the body says none."""

    read: int = 0
    unreadable: int = 0
    degraded: int = 0
    tiers: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    degradations: Counter[str] = field(default_factory=Counter)  # "stage: why"
    slate_lengths: Counter[int] = field(default_factory=Counter)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    tier_of: dict[int, str] = field(default_factory=dict)


def count_replies(bodies: Iterable[tuple[int, bytes]]) -> ReplyCounts:
    """Counts over (request index, JSON body) pairs; what is not JSON of the expected types is counted unreadable."""
    decoder = msgspec.json.Decoder(_Reply)
    counts = ReplyCounts()
    for index, body in bodies:
        try:
            reply = decoder.decode(body)
        except msgspec.DecodeError:
            counts.unreadable += 1
            continue
        counts.read += 1
        counts.tier_of[index] = reply.tier
        counts.tiers[reply.tier or "unnamed"] += 1
        counts.slate_lengths[len(reply.items)] += 1
        if reply.route:
            counts.routes[reply.route] += 1
        if reply.degraded:
            counts.degraded += 1
            counts.degradations.update(f"{entry.stage}: {entry.why}" for entry in reply.degraded)
        for stage, spent_ms in reply.timing_ms.items():
            counts.stages_ms.setdefault(stage, []).append(spent_ms)
    return counts
