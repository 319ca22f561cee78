"""One run of load against a server: opens connections, keeps time, ends in bounded time; computes no statistics."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import uvloop

from upnext.bench.alarm import finest_alarm
from upnext.bench.connection import Connection
from upnext.bench.load import ClosedLoad, Load, OpenLoad
from upnext.bench.samples import Samples
from upnext.bench.schedule import Arrivals, arrival_times_ms
from upnext.bench.target import Target, recommend_requests
from upnext.clock import Clock, SystemClock
from upnext.errors import SettingsError, UpnextError

_SWEEP_S = 0.02

Progress = Callable[[float, int], None]


@dataclass(frozen=True)
class Plan:
    """What to ask of a server. Without `rate_per_s` the loop is closed: every connection always has one in flight.

    The warm-up is the same load before the `seconds` that count. `timeout_ms` counts from when a request was sent, and
    is also how long the end of the run waits for late answers.
    """

    target: Target
    user_ids: Sequence[str]
    rate_per_s: float | None
    seconds: float = 10.0
    warmup_s: float = 1.0
    connections: int = 64
    k: int = 20
    arrivals: Arrivals = "poisson"
    seed: int = 0
    timeout_ms: float = 5_000.0

    def __post_init__(self) -> None:
        if not self.user_ids:
            raise SettingsError("there are no users to ask for; give --users N or a --users-file with one id a line")
        if self.seconds <= 0 or self.warmup_s < 0 or self.timeout_ms <= 0 or not 1 <= self.connections <= 10_000:
            raise SettingsError(
                f"cannot run {self.seconds:g} s after {self.warmup_s:g} s of warm-up on {self.connections} connections "
                f"with a time-out of {self.timeout_ms:g} ms; times are above 0 and connections from 1 to 10,000"
            )


@dataclass(frozen=True)
class Run:
    """What happened. Times of `samples` count from the first intended start; `ended_ms` is when the run was over."""

    plan: Plan
    samples: Samples
    ended_ms: float


def run_load(plan: Plan, *, clock: Clock | None = None, progress: Progress | None = None) -> Run:
    """Carry out the plan and return what happened; ends within its seconds, one time-out and a moment.

    `progress(share of time gone, requests so far)` is called some times a second from within the event loop, so it must
    be quick. Raises UpnextError when no connection can be opened at the start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, _no_garbage_collection():
        return runner.run(_Driver(plan, clock or SystemClock(), progress).run())


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A full collection stops the client for milliseconds, which would be counted as the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Driver:
    """The parts of one run, while it runs."""

    def __init__(self, plan: Plan, clock: Clock, progress: Progress | None) -> None:
        self._plan = plan
        self._clock = clock
        self._progress = progress or (lambda share, requests: None)
        self._samples = Samples()
        self._requests = recommend_requests(plan.target, plan.user_ids, plan.k)
        self._picks = np.random.default_rng(plan.seed).integers(len(self._requests), size=1 << 16).tolist()
        self._start_ms = clock.monotonic_ms()
        self._opening = 0
        self._tasks: set[asyncio.Task[bool]] = set()

    def _now_ms(self) -> float:
        return self._clock.monotonic_ms() - self._start_ms

    async def run(self) -> Run:
        plan = self._plan
        if plan.rate_per_s is None:
            await self._run_closed()
        else:
            due_ms = arrival_times_ms(plan.arrivals, plan.rate_per_s, plan.warmup_s + plan.seconds, plan.seed)
            await self._run_open(due_ms.tolist())
        return Run(plan, self._samples, self._now_ms())

    async def _run_open(self, due_ms: list[float]) -> None:
        load = OpenLoad(self._requests, self._picks, self._samples, self._now_ms)
        await self._connect(load)
        upcoming = iter(due_ms)
        next_ms: float | None = next(upcoming)

        def ring() -> None:
            nonlocal next_ms
            now_ms = self._now_ms()
            while next_ms is not None and next_ms <= now_ms:
                load.due(next_ms)
                next_ms = next(upcoming, None)
            if next_ms is not None:
                alarm.arm(next_ms - self._now_ms())

        alarm = finest_alarm(asyncio.get_running_loop(), ring)
        self._start_ms = self._clock.monotonic_ms()
        alarm.arm(0.0)
        try:
            await self._keep(load, until=lambda: next_ms is None and not load.waiting and not load.in_flight)
        finally:
            alarm.close()
            self._hang_up(load)

    async def _run_closed(self) -> None:
        load = ClosedLoad(self._requests, self._picks, self._samples, self._now_ms)
        end_ms = (self._plan.warmup_s + self._plan.seconds) * 1e3
        self._start_ms = self._clock.monotonic_ms()
        await self._connect(load)

        def over() -> bool:
            if self._now_ms() >= end_ms:
                load.stop()
            return load.stopped and not load.in_flight

        try:
            await self._keep(load, until=over)
        finally:
            self._hang_up(load)

    async def _keep(self, load: Load, until: Callable[[], bool]) -> None:
        """Many times a second give up on what timed out, reopen what was lost, show progress; end at the hard end."""
        plan = self._plan
        span_ms = (plan.warmup_s + plan.seconds) * 1e3
        while not until() and self._now_ms() < span_ms + plan.timeout_ms:
            await asyncio.sleep(_SWEEP_S)
            load.give_up(self._now_ms() - plan.timeout_ms)
            for _ in range(plan.connections - len(load.lines) - self._opening):
                task = asyncio.get_running_loop().create_task(self._open(load))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._progress(min(1.0, self._now_ms() / span_ms), len(self._samples))

    async def _connect(self, load: Load) -> None:
        opened = await asyncio.gather(*(self._open(load) for _ in range(self._plan.connections)))
        if not any(opened):
            raise UpnextError(f"no connection to {self._plan.target}; start the server, or correct the URL")

    async def _open(self, load: Load) -> bool:
        self._opening += 1
        try:
            await asyncio.wait_for(
                asyncio.get_running_loop().create_connection(
                    lambda: Connection(load), self._plan.target.host, self._plan.target.port
                ),
                self._plan.timeout_ms / 1e3,
            )
        except OSError:  # TimeoutError is one; the next sweep tries again
            return False
        finally:
            self._opening -= 1
        return True

    def _hang_up(self, load: Load) -> None:
        for task in self._tasks:
            task.cancel()
        for line in list(load.lines):
            line.request = -1  # unanswered rows stay PENDING: the end of the run is not the server's failure
            line.abort()
