"""How long after an event is acknowledged by one worker does a slate of another worker know of it?

Two workers, an open loop of single events. After every tenth acknowledgement, at once, a request for a slate of the
same user on a connection to the other worker, again and again until its `state_version` is that of the event. A slate
that does not know of the event at the first look is a miss: there must be none. Latency is from the acknowledgement to
the arrival of the slate, so it holds the making of a whole slate. Beside it, the session step alone, without a server.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from pinned_servers import REPOSITORY
from producer import Asker, EventSource, percentiles, post, write_json
from random_release import build_random_release
from serving import serving
from upnext.bench.alarm import finest_alarm
from upnext.bench.machine import this_machine
from upnext.bench.schedule import arrival_times_ms
from upnext.bench.target import parse_target
from upnext.clock import Deadline, SystemClock
from upnext.domain.event import Event
from upnext.domain.identity import key_of
from upnext.funnel.live import open_live
from upnext.release.releases import Releases
from upnext.settings import load_settings
from upnext.state.apply import apply_events
from upnext.store.lmdb_store import LmdbStore

N_ITEMS = 20_000
LINES_PER_WORKER = 24
LOOKS = 50
STEPS = 3_000


@dataclass
class Figures:
    """Times in milliseconds. `misses`: first looks that did not know of the event, by why."""

    acknowledge_ms: list[float] = field(default_factory=list)  # from when the event was due
    visible_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)  # by which the generator was behind its plan
    misses: Counter[str] = field(default_factory=Counter)
    never: int = 0
    failed: Counter[str] = field(default_factory=Counter)


class Workers:
    """Idle connections by worker; which is whose shows in the ids that a worker gives its answers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: dict[str, list[Asker]] = defaultdict(list)

    async def connect(self) -> None:
        """Opens connections until two workers have enough each; the system spreads them as it likes."""
        target, probe = parse_target(self._url), post(self._url, "/v1/recommend", b"{}")
        for _ in range(40 * LINES_PER_WORKER):
            asker = await Asker.connect(target)
            reply = await asker.ask(probe)
            worker = reply.json()["request_id"].rsplit("-", 1)[0]
            if len(self._idle[worker]) < LINES_PER_WORKER:
                self._idle[worker].append(asker)
            else:
                asker.close()
            if [len(lines) for lines in self._idle.values()] == [LINES_PER_WORKER] * 2:
                return
        raise SystemExit(f"connections do not spread over two workers: {[len(x) for x in self._idle.values()]}")

    def other(self, worker: str) -> str:
        return next(name for name in self._idle if name != worker)

    @property
    def names(self) -> list[str]:
        return list(self._idle)

    def take(self, worker: str) -> Asker | None:
        return self._idle[worker].pop(0) if self._idle[worker] else None

    def give(self, worker: str, asker: Asker) -> None:
        self._idle[worker].append(asker)


class Trial:
    """The open loop, and the looks that follow it."""

    def __init__(self, url: str, every: int, seed: int, prefix: str) -> None:
        self._url = url
        self._every = every
        self._workers = Workers(url)
        self._source = EventSource(N_ITEMS, seed, n_users=20_000, prefix=prefix)
        self._acknowledged: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.figures = Figures()

    async def run(self, rate_per_s: float, seconds: float, seed: int) -> None:
        await self._workers.connect()
        due_ms = arrival_times_ms("poisson", rate_per_s, seconds, seed).tolist()
        events = self._source.take(len(due_ms))
        upcoming = iter(enumerate(zip(due_ms, events, strict=True)))
        begin_s, done = time.perf_counter(), asyncio.Event()
        following = next(upcoming, None)

        def ring() -> None:
            nonlocal following
            while following is not None and following[1][0] <= (now_ms := (time.perf_counter() - begin_s) * 1e3):
                number, (due, event) = following
                self.figures.late_ms.append(now_ms - due)
                task = asyncio.get_running_loop().create_task(self._event(number, begin_s + due / 1e3, event))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                following = next(upcoming, None)
            if following is None:
                done.set()
            else:
                alarm.arm(following[1][0] - (time.perf_counter() - begin_s) * 1e3)

        alarm = finest_alarm(asyncio.get_running_loop(), ring)
        alarm.arm(0.0)
        await done.wait()
        alarm.close()
        await asyncio.gather(*self._tasks)

    async def _event(self, number: int, due_s: float, event: dict[str, Any]) -> None:
        worker = self._workers.names[number % 2]
        reply = await self._ask(worker, post(self._url, "/v1/events", msgspec.json.encode(event)))
        acknowledged_s = time.perf_counter()
        if reply is None:
            return
        user = event["user_id"]
        self._acknowledged[user] += 1
        self.figures.acknowledge_ms.append((acknowledged_s - due_s) * 1e3)
        if number % self._every == 0:
            await self._look(self._workers.other(worker), user, self._acknowledged[user], acknowledged_s)

    async def _look(self, worker: str, user: str, version: int, acknowledged_s: float) -> None:
        request = post(self._url, "/v1/recommend", msgspec.json.encode({"user_id": user, "k": 5, "budget_ms": 200}))
        for look in range(LOOKS):
            answer = await self._ask(worker, request)
            if answer is not None and answer["state_version"] >= version:
                self.figures.visible_ms.append((time.perf_counter() - acknowledged_s) * 1e3)
                return
            if look == 0 and answer is not None:
                unread = any(each["stage"] in ("state", "funnel") for each in answer["degraded"])
                self.figures.misses["state not read in time, and said so" if unread else "older state"] += 1
        self.figures.never += 1

    async def _ask(self, worker: str, request: bytes) -> dict[str, Any] | None:
        asker = self._workers.take(worker)
        while asker is None:  # all connections are busy; the wait counts
            await asyncio.sleep(0.0005)
            asker = self._workers.take(worker)
        try:
            reply = await asker.ask(request)
        finally:
            self._workers.give(worker, asker)
        if reply.status != 200:
            self.figures.failed[str(reply.status)] += 1
            return None
        return reply.json()


def step_us(home: Path, folder: Path) -> dict[str, float]:
    """p50 of the session step, and of one event applied to a store in `folder`, in µs, in this process."""
    clock, settings = SystemClock(), load_settings(home)
    live = open_live(Releases(home).open_active(), settings, clock)
    assert live.stepper is not None
    random = np.random.default_rng(0)
    items = [f"item{item}" for item in random.integers(N_ITEMS, size=STEPS)]
    store, never = LmdbStore(folder / "stepped", clock), Deadline.never(clock)
    hidden = np.zeros(0, np.float32)
    step_ms, apply_ms = [], []
    for number, item_id in enumerate(items):
        key = key_of(item_id)
        begin_s = time.perf_counter()
        (stepped,) = live.stepper.step([hidden], [key])
        step_ms.append((time.perf_counter() - begin_s) * 1e3)
        hidden = stepped[0] if stepped else hidden
        user, now_ms = f"stepped{random.integers(500)}", clock.now_ms()
        event = Event(event_id=f"step-{number}", action="click", timestamp_ms=now_ms, user_id=user, item_id=item_id)
        begin_s = time.perf_counter()
        apply_events([(number + 1, event)], store, live.stepper, settings.state, never)
        apply_ms.append((time.perf_counter() - begin_s) * 1e3)
    store.close()
    return {
        "session step alone": statistics.median(step_ms) * 1e3,
        "one event applied to the state, read and written": statistics.median(apply_ms) * 1e3,
    }


def table_of(figures: Figures, steps_us: dict[str, float], rate_per_s: float) -> str:
    lines = [f"| at {rate_per_s:,.0f} events/s | p50 | p99 | p99.9 | max |", "|---|---:|---:|---:|---:|"]
    rows = {
        "due to acknowledged, ms": figures.acknowledge_ms,
        "acknowledged to visible through the other worker, ms": figures.visible_ms,
        "generator late, ms": figures.late_ms,
    }
    for name, values in rows.items():
        p50, p99, p999, most = percentiles(values, 50, 99, 99.9, 100)
        lines.append(f"| {name} | {p50:.2f} | {p99:.2f} | {p999:.2f} | {most:.2f} |")
    lines += [f"| {name}, µs | {value:.1f} | | | |" for name, value in steps_us.items()]
    misses = ", ".join(f"{why}: {count}" for why, count in figures.misses.items()) or "none"
    failed = ", ".join(f"{status}: {count}" for status, count in figures.failed.items()) or "none"
    lines += [
        "",
        f"{len(figures.acknowledge_ms):,} events acknowledged, {len(figures.visible_ms):,} looked for; missed at the "
        f"first look: {misses}; never seen: {figures.never}; requests failed: {failed}.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, help="home with an active release  [default: one of random weights]")
    parser.add_argument("--rate", type=float, default=1_000.0, help="events per second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--warm-up-s", type=float, default=3.0)
    parser.add_argument("--every", type=int, default=10, help="look for every N-th event")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upnext-writes-") as folder:
        home = options.home or Path(folder) / "home"
        if options.home is None:
            build_random_release(home, n_items=N_ITEMS, n_users=1_000)
        steps_us = step_us(home, Path(folder))
        with (
            serving(home, Path(folder) / "upnext.log") as url,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            warm_up = Trial(url, options.every, options.seed, f"warm{time.time_ns()}-")
            runner.run(warm_up.run(options.rate / 4, options.warm_up_s, options.seed))
            trial = Trial(url, options.every, options.seed, f"writer{time.time_ns()}-")
            runner.run(trial.run(options.rate, options.seconds, options.seed + 1))
    machine, figures = this_machine(REPOSITORY), trial.figures
    heading = f"{machine.cpu}, {machine.usable_cores} cores for two workers and the load; commit {machine.commit}."
    print(table := f"{heading}\n\n{table_of(figures, steps_us, options.rate)}")
    if options.markdown:
        options.markdown.write_text("# Read your writes\n\n`python benchmarks/read_your_writes.py`\n\n" + table)
    if options.json:
        spread = percentiles(figures.visible_ms, 50, 99, 99.9, 100)
        found = {"visible_ms": dict(zip(("p50", "p99", "p999", "max"), spread, strict=True)), "steps_us": steps_us}
        options.json.write_text(
            write_json({"machine": msgspec.to_builtins(machine), "misses": figures.misses, **found})
        )
    return 1 if figures.misses["older state"] or figures.never or figures.failed else 0


if __name__ == "__main__":
    sys.exit(main())
