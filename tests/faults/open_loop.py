"""Requests for slates and single events that come when they are due, whatever the server does; and what they felt."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec
import numpy as np

from tests.faults.line import Line, Reply
from tests.faults.producer import N_USERS, Account, EventSource, taken_of

_PAUSE_S = 0.1


@dataclass
class Feeling:
    """What happened to requests that were due in one phase. Latency counts from when a request was due."""

    phase: str
    slates: int = 0
    slates_failed: Counter[str] = field(default_factory=Counter)  # by status, or "no answer"
    tiers: Counter[str] = field(default_factory=Counter)
    stateless: int = 0  # slates that know nothing of a user of whom something is known
    slate_ms: list[float] = field(default_factory=list)
    events: int = 0
    applied: int = 0
    event_ms: list[float] = field(default_factory=list)  # of acknowledged ones

    HEADER: ClassVar[str] = (
        "| Redis is | slates | failed | tiers | without state | p50 ms | p99 ms | max ms "
        "| events acknowledged | in their state at once | p50 ms | p99 ms | max ms | states caught up after |\n"
        "|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )

    def row(self, caught_up_s: float | None) -> str:
        tiers = ", ".join(f"{tier} {count / max(self.slates, 1):.0%}" for tier, count in self.tiers.most_common())
        caught_up = "" if caught_up_s is None else "never" if caught_up_s == float("inf") else f"{caught_up_s:.2f} s"
        acknowledged = f"{len(self.event_ms):,} of {self.events:,}"
        stateless = f"{self.stateless / max(self.slates, 1):.0%}"
        applied = f"{self.applied / max(len(self.event_ms), 1):.0%}"
        cells = (self.phase, f"{self.slates:,}", self.slates_failed.total(), tiers, stateless, _spread(self.slate_ms))
        more = (acknowledged, applied, _spread(self.event_ms), caught_up)
        return f"| {' | '.join(map(str, (*cells, *more)))} |"


def _spread(values_ms: list[float]) -> str:
    if not values_ms:
        return "– | – | –"
    p50, p99 = np.percentile(values_ms, [50, 99])
    return f"{p50:.1f} | {p99:.1f} | {max(values_ms):.1f}"


class OpenLoop:
    """Runs phase by phase without a pause between. Events that were not acknowledged are sent again by `finish`."""

    def __init__(
        self, port: int, account: Account, choose: random.Random, slates_per_s: float, events_per_s: float
    ) -> None:
        self._port = port
        self._account = account
        self._random = choose
        self._rate_per_s = slates_per_s + events_per_s
        self._slate_share = slates_per_s / self._rate_per_s
        self._events = EventSource(choose.randrange(2**32))
        self._idle: list[Line] = []
        self._due_s = 0.0
        self._running: set[asyncio.Task[None]] = set()
        self._known: set[str] = set()  # users of whom an event was acknowledged
        self._left: list[dict[str, Any]] = []  # events not acknowledged yet
        self.feelings: dict[str, Feeling] = {}

    async def run(self, phase: str, seconds: float) -> None:
        """Poisson arrivals for so long; does not wait for their answers."""
        feeling = self.feelings[phase] = Feeling(phase)
        self._due_s = max(self._due_s, time.monotonic())
        end_s = self._due_s + seconds
        while self._due_s < end_s:
            await asyncio.sleep(max(self._due_s - time.monotonic(), 0))
            slate = self._random.random() < self._slate_share
            self._begin(self._slate(feeling, self._due_s) if slate else self._event(feeling, self._due_s))
            self._due_s += self._random.expovariate(self._rate_per_s)

    async def finish(self) -> None:
        """Waits for all answers, then sends what is not acknowledged until it is."""
        while self._running:
            await asyncio.gather(*self._running)
        while self._left:
            event = self._left.pop()
            if not await self._send(event, None):
                self._left.append(event)
                await asyncio.sleep(_PAUSE_S)
        for line in self._idle:
            line.close()

    def _begin(self, request: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(request)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _post(self, path: str, body: dict[str, Any]) -> Reply | None:
        """None where no answer came."""
        line = self._idle.pop(0) if self._idle else Line(self._port)  # idle for longest: all workers get their share
        try:
            return await line.post(path, msgspec.json.encode(body))
        except OSError:
            return None
        finally:
            self._idle.append(line)

    async def _slate(self, feeling: Feeling, due_s: float) -> None:
        user = f"fault-user-{self._random.randrange(N_USERS)}"
        feeling.slates += 1
        reply = await self._post("/v1/recommend", {"user_id": user, "k": 20})
        feeling.slate_ms.append((time.monotonic() - due_s) * 1e3)
        if reply is None or reply.status != 200:
            feeling.slates_failed["no answer" if reply is None else str(reply.status)] += 1
            return
        answer: dict[str, Any] = reply.json()
        feeling.tiers[answer["tier"]] += 1
        feeling.stateless += user in self._known and not answer["state_version"]
        if len(answer["items"]) != 20:
            feeling.slates_failed["short slate"] += 1

    async def _event(self, feeling: Feeling, due_s: float) -> None:
        event = self._events.next()
        self._account.sent[event["event_id"]] = event
        feeling.events += 1
        if await self._send(event, feeling):
            feeling.event_ms.append((time.monotonic() - due_s) * 1e3)
        else:
            self._left.append(event)

    async def _send(self, event: dict[str, Any], feeling: Feeling | None) -> bool:
        """Whether the event was acknowledged."""
        reply, account = await self._post("/v1/events", event), self._account
        if reply is None:
            account.unanswered += 1
            return False
        if reply.status == 503 and "retry-after" in reply.headers:
            account.refused += 1
            return False
        taken = taken_of(reply)
        if taken is None or taken.accepted + taken.duplicates != 1:
            account.unexpected[f"{reply.status} {reply.body[:200]!r}"] += 1
            return False
        account.acknowledged.add(event["event_id"])
        self._known.add(event["user_id"])
        account.duplicates += taken.duplicates
        account.unapplied += not taken.applied
        if feeling is not None:
            feeling.applied += taken.applied
        return True
