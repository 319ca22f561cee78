"""Requests for slates, when they are due, on connections of which it is known which worker has them; and single events.

Knows nothing of faults. Latency counts from when a request was due.
"""

import asyncio
import random
import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from tests.faults.line import Line
from upnext.bench import load
from upnext.bench.alarm import finest_alarm
from upnext.bench.connection import Connection
from upnext.bench.load import OpenLoad
from upnext.bench.samples import Samples
from upnext.bench.schedule import arrival_times_ms
from upnext.bench.target import Target, recommend_requests

_SWEEP_S = 0.005
_ID = b'"request_id":"'
_N_EVENT_LINES = 8
_TRIES = 3  # for an event whose connection broke, as of a worker that was killed; its id says that it is the same


class TrackedLoad(OpenLoad):
    """An open loop that notes, for every request, the process id of the worker whose connection it went out on.

    A worker's ids of requests begin with its process id. `workers[index]` is 0 where it was not used before.
    """

    def __init__(self, requests: Sequence[bytes], picks: Sequence[int], samples: Samples, begin_s: float) -> None:
        super().__init__(requests, picks, samples, lambda: (time.perf_counter() - begin_s) * 1e3)
        self._worker_of: dict[load.Line, int] = {}
        self.workers = array("q")

    def _send(self, line: load.Line, index: int) -> None:
        while len(self.workers) <= index:
            self.workers.append(0)
        self.workers[index] = self._worker_of.get(line, 0)
        super()._send(line, index)

    def replied(self, line: load.Line, status: int, body: bytes) -> None:
        if line not in self._worker_of and (at := body.find(_ID)) >= 0:
            begin = at + len(_ID)
            with suppress(ValueError):
                self._worker_of[line] = int(body[begin : body.index(b"-", begin)], 16)
        super().replied(line, status, body)

    def lost(self, line: load.Line) -> None:
        self._worker_of.pop(line, None)
        super().lost(line)

    def spread(self) -> dict[int, int]:
        """How many connections each worker has now."""
        found = list(self._worker_of.values())
        return {worker: found.count(worker) for worker in set(found)}


@dataclass
class SlateLoad:
    """One open loop of requests for slates, from `begin_s` of `time.perf_counter` on."""

    target: Target
    users: Sequence[str]
    rate_per_s: float
    seconds: float
    connections: int = 32
    timeout_ms: float = 5_000.0
    seed: int = 0
    samples: Samples = field(default_factory=Samples)
    load: TrackedLoad | None = None

    async def run(self, begin_s: float) -> None:
        """Ends when all is answered, or given up."""
        due_ms = iter(arrival_times_ms("poisson", self.rate_per_s, self.seconds, self.seed).tolist())
        picks = np.random.default_rng(self.seed).integers(len(self.users), size=1 << 16).tolist()
        requests = recommend_requests(self.target, self.users, 20)
        running = self.load = TrackedLoad(requests, picks, self.samples, begin_s)
        first_ms = next(due_ms)
        next_ms: float | None = first_ms

        def ring() -> None:
            nonlocal next_ms
            while next_ms is not None and next_ms <= (time.perf_counter() - begin_s) * 1e3:
                running.due(next_ms)
                next_ms = next(due_ms, None)
            if next_ms is not None:
                alarm.arm(next_ms - (time.perf_counter() - begin_s) * 1e3)

        await asyncio.gather(*(self._open(running) for _ in range(self.connections)))
        alarm = finest_alarm(asyncio.get_running_loop(), ring)
        alarm.arm(max(first_ms - (time.perf_counter() - begin_s) * 1e3, 0.0))
        try:
            await self._keep(running, begin_s, lambda: next_ms is None)
        finally:
            alarm.close()
            for line in list(running.lines):
                line.request = -1
                line.abort()

    async def _keep(self, running: TrackedLoad, begin_s: float, all_due: Any) -> None:
        opening: set[asyncio.Task[None]] = set()
        while not (all_due() and not running.waiting and not running.in_flight):
            await asyncio.sleep(_SWEEP_S)
            now_ms = (time.perf_counter() - begin_s) * 1e3
            if now_ms > self.seconds * 1e3 + self.timeout_ms:
                break
            running.give_up(now_ms - self.timeout_ms)
            for _ in range(self.connections - len(running.lines) - len(opening)):
                task = asyncio.create_task(self._open(running))
                opening.add(task)
                task.add_done_callback(opening.discard)
        for task in opening:
            task.cancel()

    async def _open(self, running: TrackedLoad) -> None:
        with suppress(OSError):  # the next sweep tries again
            connecting = asyncio.get_running_loop().create_connection(
                lambda: Connection(running), self.target.host, self.target.port
            )
            await asyncio.wait_for(connecting, self.timeout_ms / 1e3)


@dataclass
class EventFigures:
    """Of each event when it was due, and how long its answer took; `status` is 0 where none came."""

    due_s: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    applied: list[bool] = field(default_factory=list)
    retry_after: list[bool] = field(default_factory=list)


class EventLoad:
    """Clicks, one a request, when they are due; sent again only where the connection broke."""

    def __init__(self, port: int, users: Sequence[str], items: Sequence[str], rate_per_s: float, seed: int = 0) -> None:
        self._port = port
        self._users = users
        self._items = items
        self._rate_per_s = rate_per_s
        self._random = random.Random(seed)
        self._prefix = f"pressure-{seed}-{time.time_ns()}"
        self._idle: list[Line] = []
        self.figures = EventFigures()

    async def run(self, begin_s: float, seconds: float) -> None:
        if not self._rate_per_s:
            return
        due_s, tasks = self._random.expovariate(self._rate_per_s), set()
        while due_s < seconds:
            await asyncio.sleep(max(begin_s + due_s - time.perf_counter(), 0))
            task = asyncio.create_task(self._send(begin_s, due_s, f"{self._prefix}-{due_s}"))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due_s += self._random.expovariate(self._rate_per_s)
        await asyncio.gather(*tasks)
        for line in self._idle:
            line.close()

    async def _send(self, begin_s: float, due_s: float, event_id: str) -> None:
        choose, figures = self._random, self.figures
        event = {
            "event_id": event_id,
            "action": "click",
            "user_id": choose.choice(self._users),
            "item_id": choose.choice(self._items),
            "timestamp_ms": int(time.time() * 1e3),
        }
        line = self._idle.pop(0) if len(self._idle) >= _N_EVENT_LINES else Line(self._port)
        status, applied, retry_after = 0, False, False
        for _ in range(_TRIES):
            try:
                reply = await line.post("/v1/events", msgspec.json.encode(event))
            except TimeoutError:
                break
            except OSError:
                continue
            status, retry_after = reply.status, "retry-after" in reply.headers
            applied = status == 200 and bool(reply.json()["applied"])
            break
        self._idle.append(line)
        figures.due_s.append(due_s)
        figures.took_ms.append((time.perf_counter() - begin_s - due_s) * 1e3)
        figures.status.append(status)
        figures.applied.append(applied)
        figures.retry_after.append(retry_after)
