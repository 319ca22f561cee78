"""A steady load of slates on connections that are held open: who answered each, how fast, and what broke when."""

import asyncio
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tests.faults.line import Line, Reply


@dataclass
class Asked:
    """One request. Moments are seconds of the monotonic clock; latency counts from when it was due."""

    due_s: float
    ended_s: float = 0.0
    status: int = 0  # 0: no whole answer
    worker: int | None = None  # process id; without an answer, of the one that answered last on the connection
    release: str = ""
    error: str = ""

    @property
    def ms(self) -> float:
        return (self.ended_s - self.due_s) * 1e3


class PoliteLine(Line):
    """Looks whether the server has closed the connection before asking on it, and then takes another one."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.worker: int | None = None

    async def post(self, path: str, body: bytes) -> Reply:
        if self._streams is not None and (self._streams[0].at_eof() or self._streams[0].exception() is not None):
            self.close()
        if self._streams is None:
            self.worker = None
        return await super().post(path, body)


class SlateLoad:
    """An open loop: Poisson arrivals, each on the connection that was idle for longest, or on a new one."""

    def __init__(self, port: int, rate_per_s: float, *, users: int = 1_000, seed: int = 0) -> None:
        self._port = port
        self._rate_per_s = rate_per_s
        self._users = users
        self._random = random.Random(seed)
        self._idle: list[PoliteLine] = []
        self._running: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self.asked: list[Asked] = []

    def start(self, connections: int = 0) -> None:
        """Requests come from now on; so many connections take turns at least."""
        self._idle = [PoliteLine(self._port) for _ in range(connections)]
        self._loop = asyncio.create_task(self._arrivals())

    async def stop(self) -> None:
        """No more come; waits for the answers of those that came."""
        assert self._loop is not None
        self._loop.cancel()
        while self._running:
            await asyncio.gather(*self._running)
        for line in self._idle:
            line.close()

    @property
    def failed(self) -> list[Asked]:
        return [each for each in self.asked if each.status != 200 and each.ended_s]

    def _begin(self, request: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(request)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _arrivals(self) -> None:
        due_s = time.monotonic()
        while True:
            due_s += self._random.expovariate(self._rate_per_s)
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            self._begin(self._ask(due_s))

    async def _ask(self, due_s: float) -> None:
        asked = Asked(due_s)
        self.asked.append(asked)
        line = self._idle.pop(0) if self._idle else PoliteLine(self._port)
        try:
            reply = await line.post("/v1/recommend", msgspec.json.encode(self._body()))
            asked.status = reply.status
            answer: dict[str, Any] = reply.json()
            asked.release = answer.get("release", "")
            asked.worker = line.worker = int(str(answer.get("request_id", "0")).split("-")[0], 16)
        except OSError as error:  # a time-out is one too
            asked.worker, asked.error = line.worker, type(error).__name__
        finally:
            asked.ended_s = time.monotonic()
            self._idle.append(line)

    def _body(self) -> dict[str, Any]:
        return {"user_id": f"user{self._random.randrange(self._users)}", "k": 20}


def spread(asked: list[Asked]) -> str:
    """p50, p99 and the longest, in ms, as cells of a table."""
    answered = [each.ms for each in asked if each.status == 200]
    if not answered:
        return "– | – | –"
    p50, p99 = np.percentile(answered, [50, 99])
    return f"{p50:.1f} | {p99:.1f} | {max(answered):.1f}"
