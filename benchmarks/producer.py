"""A producer of events as benchmarks need one: connections to await answers on, and bodies; measures nothing."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from upnext.bench.connection import Connection
from upnext.bench.target import Target, parse_target

N_USERS = 100_000


class Reply(NamedTuple):
    """Status and body."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded


class Asker:
    """One keep-alive connection; one request at a time. Once it is lost, every request raises `ConnectionError`."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._answer: asyncio.Future[Reply] | None = None

    @classmethod
    async def connect(cls, target: Target) -> "Asker":
        asker, loop = cls(), asyncio.get_running_loop()
        await loop.create_connection(lambda: Connection(asker), target.host, target.port)
        return asker

    async def ask(self, request: bytes) -> Reply:
        if self._connection is None or not self._connection.writable:
            raise ConnectionError("the connection is lost")
        self._answer = asyncio.get_running_loop().create_future()
        self._connection.send(request)
        return await self._answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    # What the connection calls.

    def opened(self, connection: Connection) -> None:
        self._connection = connection

    def replied(self, connection: Connection, status: int, body: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Reply(status, body))

    def malformed(self, connection: Connection) -> None:
        self._fail("what came is not HTTP")

    def lost(self, connection: Connection) -> None:
        self._fail("the server closed the connection")

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(why))


def post(url: str, path: str, body: bytes) -> bytes:
    """A whole request, ready to send. `url` must be a loopback one."""
    target = parse_target(url, path)
    head = f"POST {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class EventSource:
    """Clicks of users by a Zipf law, each with a random id, of now; as JSON objects of about 220 bytes.

    The exponent, 0.5, gives the most active of 100,000 users 0.16 % of all events. In MovieLens 1M it is 0.23 %, in
    the Globo set 0.04 %.
    """

    def __init__(self, n_items: int, seed: int = 0, *, n_users: int = N_USERS, prefix: str = "user") -> None:
        self._random = np.random.default_rng(seed)
        self._n_items = n_items
        self._prefix = prefix
        weights = np.arange(1, n_users + 1) ** -0.5
        self._cumulative = np.cumsum(weights / weights.sum())

    def take(self, count: int) -> list[dict[str, Any]]:
        users = self._cumulative.searchsorted(self._random.random(count)).tolist()
        items = self._random.integers(self._n_items, size=count).tolist()
        now_ms = int(time.time() * 1_000)
        return [
            {
                "event_id": os.urandom(16).hex(),
                "action": "click",
                "user_id": f"{self._prefix}{user}",
                "session_id": f"session-{user}-1",
                "item_id": f"item{item}",
                "timestamp_ms": now_ms,
                "context": {"device": "mobile", "surface": "home", "region": "north"},
            }
            for user, item in zip(users, items, strict=True)
        ]


def batches(source: EventSource, count: int, size: int) -> list[bytes]:
    """`count` bodies of `size` events each: an array, or for one event the object itself."""
    events = source.take(count * size)
    if size == 1:
        return [msgspec.json.encode(event) for event in events]
    return [msgspec.json.encode(events[at : at + size]) for at in range(0, len(events), size)]


def percentiles(values: Sequence[float], *percents: float) -> list[float]:
    """NaN for each where there are no values."""
    return np.percentile(values, percents).tolist() if len(values) else [float("nan")] * len(percents)


def write_json(figures: Any) -> str:
    return json.dumps(figures, indent=2) + "\n"
