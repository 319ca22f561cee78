"""One fault on a real server under load: starts what it needs, makes it, and puts together what came of it."""

import asyncio
import gc
import os
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.faults import pressure_home
from tests.faults.pressure_faults import Fault, Scene
from tests.faults.pressure_figures import (
    Limits,
    Moments,
    Result,
    events_of,
    full_shares,
    recovered_s,
    slates_of,
    transitions,
)
from tests.faults.pressure_home import World
from tests.faults.pressure_load import EventLoad, SlateLoad
from tests.faults.server_process import ServerProcess
from tests.redis_servers import RedisServer
from upnext.bench.target import parse_target

INJECT = Path(__file__).resolve().parent / "inject"
_WARM_S, _MOST_WARM, _WARM = 1.0, 30, 0.99
# Shortlists would answer users who come again, and hide what happens to the models.
SETTINGS = ("ahead.reuse=false",)


@dataclass(frozen=True)
class Load:
    """How much is asked, and for how long."""

    slates_per_s: float = 150.0
    events_per_s: float = 30.0
    calm_s: float = 5.0
    fault_s: float = 30.0
    after_s: float = 15.0
    connections: int = 32
    workers: int = 2
    most_ms: float = 200.0
    needs_recovery: bool = True  # 99 % of answers full by the end
    seed: int = 0


def run(world: World, fault: Fault, folder: Path, load: Load, settings: Sequence[str] = ()) -> Result:
    """One fault under load, over a copy of `world` in `folder`. Raises `OSError` where the machine cannot have it."""
    with ExitStack() as stack:
        scene = stack.enter_context(_scene(world, fault, folder, load, (*SETTINGS, *settings)))
        gc.collect()
        gc.disable()
        stack.callback(gc.enable)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(scene, fault, load))


@contextmanager
def _scene(world: World, fault: Fault, folder: Path, load: Load, settings: Sequence[str]) -> Iterator[Scene]:
    """A server that is ready, and whatever the fault needs."""
    with ExitStack() as stack:
        told, disk, redis = folder / "faults", None, None
        told.mkdir(parents=True)
        home = folder / "home"
        if fault.needs == "small disk":
            disk = stack.enter_context(pressure_home.small_disk(folder, pressure_home.room_for(world.home)))
            home = disk.mounted / "home"
        world = pressure_home.copied(world, home)
        if fault.needs == "two releases":
            pressure_home.another_release(home)
        if fault.needs == "redis":
            redis = RedisServer(folder / "redis", "--appendonly", "yes")
            redis.start()
            stack.callback(redis.stop)
            pressure_home.states_to_redis(home, redis)
            settings = (*settings, f"store.url={redis.url}/0")
        server = ServerProcess(home, workers=load.workers, settings=settings)
        server.log = folder / "server.log"  # not on a disk that fills up
        stack.callback(server.kill_all)
        path = os.pathsep.join(filter(None, (str(INJECT), os.environ.get("PYTHONPATH"))))
        with _environment(PYTHONPATH=path, FAULTS_FOLDER=str(told)):
            server.start()
        scene = Scene(world, server, told, redis, disk)
        stack.callback(_whatever, lambda: fault.end(scene))
        yield scene


async def _run(scene: Scene, fault: Fault, load: Load) -> Result:
    target, users = parse_target(scene.server.url), scene.world.users
    await _all_workers_answer(scene.server, load.workers)
    notes = await _warm_up(scene, load)
    over_s = load.calm_s + load.fault_s + load.after_s
    moments = Moments(load.calm_s, load.calm_s + load.fault_s, over_s)
    slates = SlateLoad(target, users, load.slates_per_s, over_s, load.connections, seed=load.seed)
    scene.connections = lambda: slates.load.spread() if slates.load else {}
    scene.ready = lambda: _ready(_metrics(scene.server.url))
    before, log_before = await asyncio.to_thread(_metrics, scene.server.url), _lines(scene.server.log)
    begin_s = time.perf_counter() + 0.2
    events = EventLoad(scene.server.port, users, scene.world.items, load.events_per_s, load.seed)
    await asyncio.gather(slates.run(begin_s), events.run(begin_s, over_s), _act(scene, fault, begin_s, moments, notes))
    after = await asyncio.to_thread(_metrics, scene.server.url)
    log_lines = _lines(scene.server.log) - log_before
    if not after:
        notes.append(f"the server does not answer any more; its log ends: {scene.server.log_end()[-500:]}")
    elif status := await asyncio.to_thread(scene.server.stop):
        notes.append(f"told to end, the server ended with status {status}")
    kills = [(at_s - begin_s, worker) for at_s, worker in scene.kills]
    moments = Moments(moments.begin_s, moments.end_s, over_s, kills)
    samples = slates.samples
    late_ms = [
        sent - due
        for due, sent, waited in zip(samples.intended_ms, samples.sent_ms, samples.queued, strict=True)
        if not waited and sent == sent
    ]
    kinds, event_p99_ms = events_of(events.figures, moments)
    return Result(
        name=fault.name,
        moments=moments,
        limits=Limits(load.most_ms, fault.breakers, fault.may_refuse_events, load.needs_recovery),
        phases=slates_of(slates, moments),
        recovered_s=recovered_s(full_shares(slates, moments.end_s, over_s)),
        late_ms=max(late_ms, default=0.0),
        breakers=transitions(before, after),
        events=kinds,
        event_p99_ms=event_p99_ms,
        log_lines=log_lines,
        notes=notes,
    )


async def _act(scene: Scene, fault: Fault, begin_s: float, moments: Moments, notes: list[str]) -> None:
    """The fault itself, at its time. What cannot be done is noted."""

    async def until(second: float) -> None:
        await asyncio.sleep(max(begin_s + second - time.perf_counter(), 0))

    try:
        await until(moments.begin_s)
        await asyncio.to_thread(fault.begin, scene)
        due_s = moments.begin_s
        while fault.each_s and due_s < moments.end_s:
            await until(due_s)
            await asyncio.to_thread(fault.each, scene)
            due_s += fault.each_s
        await until(moments.end_s)
        await asyncio.to_thread(fault.end, scene)
    except Exception as error:
        notes.append(f"the fault could not be made as planned: {error!r}")


async def _warm_up(scene: Scene, load: Load) -> list[str]:
    """The same load until its answers are full: what is to be shown is the fault, not the start. A note if they never
    are."""
    target, users = parse_target(scene.server.url), scene.world.users
    for _ in range(_MOST_WARM):
        warm = SlateLoad(target, users, load.slates_per_s, _WARM_S, load.connections)
        await warm.run(time.perf_counter())
        if full_shares(warm, 0.0, _WARM_S)[0] >= _WARM:
            return []
    return [f"answers were not full {_MOST_WARM * _WARM_S:g} s after the start, before there was any fault"]


async def _all_workers_answer(server: ServerProcess, workers: int) -> None:
    """`/readyz` is one worker's; the others may still be opening the release."""
    for _ in range(600):
        if _ready(await asyncio.to_thread(_metrics, server.url)) >= workers:
            return
        await asyncio.sleep(0.1)


def _ready(metrics: str) -> int:
    """How many workers have a release open."""
    lines = [line for line in metrics.splitlines() if line.startswith("upnext_workers{")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def _metrics(url: str) -> str:
    """ "" where nobody answers for some seconds."""
    for _ in range(20):
        with suppress(OSError), urllib.request.urlopen(f"{url}/metrics", timeout=2.0) as answer:
            return str(answer.read(), "utf-8")
        time.sleep(0.2)
    return ""


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n")


def _whatever(act: object) -> None:
    with suppress(Exception):
        act()  # type: ignore[operator]


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
