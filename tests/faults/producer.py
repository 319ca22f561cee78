"""Producers that send every event until it is acknowledged, and know which were; know nothing of who answers."""

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from tests.faults.line import Line, Reply

N_USERS = 300
_ACTIONS = ("view", "click", "play", "like", "dislike", "impression", "hover", "add_to_cart", "purchase")
_PAUSE_S = 0.02  # before the same is sent again


@dataclass
class Account:
    """What was sent and what became of it, by event id. `unexpected`: answers that no producer should ever get."""

    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    unanswered: int = 0  # events whose request broke off: nobody knew what had become of them, so they were sent again
    duplicates: int = 0  # of those, the ones that the server had
    refused: int = 0  # events of requests answered by 503: nothing of them was taken
    unapplied: int = 0  # events acknowledged before their users' state had moved
    unexpected: Counter[str] = field(default_factory=Counter)


class Taken(NamedTuple):
    """What the server says of a request's events."""

    accepted: int
    duplicates: int
    applied: bool


class EventSource:
    """Events of all kinds about `N_USERS` users, each with an id of its own; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._prefix = f"fault-{seed}"
        self._numbers = itertools.count()

    def next(self) -> dict[str, Any]:
        choose = self._random
        return {
            "event_id": f"{self._prefix}-{next(self._numbers)}",
            "action": choose.choice(_ACTIONS),
            "user_id": f"fault-user-{choose.randrange(N_USERS)}",
            "session_id": f"fault-session-{choose.randrange(20)}",
            "item_id": f"i{choose.randrange(200):05}",
            "timestamp_ms": int(time.time() * 1_000),
            "value": choose.random(),
            "context": {"device": choose.choice(("tv", "mobile")), "padding": "x" * choose.randrange(200)},
        }


class Producers:
    """Several connections, each sending one request after the other: some of one event, some of batches."""

    def __init__(self, port: int, account: Account, *, singles: int, batches: int, seed: int) -> None:
        self._account = account
        self._random = random.Random(seed)
        self._events = EventSource(seed)
        self._stopping = False
        self._lines = [Line(port) for _ in range(singles + batches)]
        self._most = [1] * singles + [100] * batches
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Inside the event loop."""
        self._stopping = False
        each = zip(self._lines, self._most, strict=True)
        self._tasks = [asyncio.create_task(self._produce(line, most)) for line, most in each]

    async def finish(self) -> None:
        """Sends nothing new; returns when everything sent is acknowledged."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        for line in self._lines:
            line.close()

    async def _produce(self, line: Line, most: int) -> None:
        while not self._stopping:
            batch = [self._events.next() for _ in range(self._random.randint(min(most, 2), most))]
            self._account.sent.update((event["event_id"], event) for event in batch)
            body = msgspec.json.encode(batch if most > 1 else batch[0])
            acknowledged = await self._acknowledged(line, batch, body)
            while not acknowledged:
                await asyncio.sleep(_PAUSE_S)
                acknowledged = await self._acknowledged(line, batch, body, again=True)
            self._account.acknowledged.update(event["event_id"] for event in batch)

    async def _acknowledged(self, line: Line, batch: list[dict[str, Any]], body: bytes, *, again: bool = False) -> bool:
        account = self._account
        try:
            reply = await line.post("/v1/events", body)
        except OSError:  # TimeoutError is one
            account.unanswered += 0 if again else len(batch)
            return False
        if reply.status == 503 and "retry-after" in reply.headers:
            account.refused += len(batch)
            return False
        taken = taken_of(reply)
        if taken is None or taken.accepted + taken.duplicates != len(batch):
            account.unexpected[f"{reply.status} {reply.body[:200]!r}"] += 1
            return False
        account.duplicates += taken.duplicates
        account.unapplied += 0 if taken.applied else len(batch)
        return True


def taken_of(reply: Reply) -> Taken | None:
    """What became of a request's events; None for any answer but a 200."""
    if reply.status != 200:
        return None
    answer: dict[str, Any] = reply.json()
    return Taken(answer["accepted"], answer["duplicates"], answer["applied"])
