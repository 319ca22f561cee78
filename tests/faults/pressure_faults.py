"""The faults: what begins them, what goes on while they last, what ends them. Knows nothing of load or figures."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.faults.pressure_home import SmallDisk, World
from tests.faults.server_process import ServerProcess
from tests.redis_servers import RedisServer
from upnext.release.releases import Releases

Needs = Literal["", "redis", "small disk", "two releases"]


@dataclass
class Scene:
    """What a fault may touch. `folder` is that of `inject/sitecustomize.py`."""

    world: World
    server: ServerProcess
    folder: Path
    redis: RedisServer | None = None
    disk: SmallDisk | None = None
    connections: Callable[[], dict[int, int]] = dict  # of the load, by the process id of the worker that has them
    ready: Callable[[], int] = int  # how many workers are
    kills: list[tuple[float, int]] = field(default_factory=list)  # `time.perf_counter`, process id

    def tell(self, file: str, text: str) -> None:
        """What is wrong with a model from now on; replaced whole, so nobody reads half of it."""
        fresh = self.folder / f".{file}"
        fresh.write_text(text)
        fresh.rename(self.folder / file)

    def heal(self, file: str) -> None:
        (self.folder / file).unlink(missing_ok=True)


def _nothing(scene: Scene) -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """`each` is done every `each_s` from its beginning to its end."""

    name: str
    what: str
    begin: Callable[[Scene], None] = _nothing
    end: Callable[[Scene], None] = _nothing
    each: Callable[[Scene], None] = _nothing
    each_s: float = 0.0
    needs: Needs = ""
    breakers: Sequence[str] = ()  # that must open, and close again
    may_refuse_events: bool = False


def _wrong(file: str, text: str) -> tuple[Callable[[Scene], None], Callable[[Scene], None]]:
    return lambda scene: scene.tell(file, text), lambda scene: scene.heal(file)


def _redis(scene: Scene) -> RedisServer:
    assert scene.redis is not None
    return scene.redis


def _disk(scene: Scene) -> SmallDisk:
    assert scene.disk is not None
    return scene.disk


def _kill_busiest(scene: Scene) -> None:
    """SIGKILL to the worker with most connections, when another one is ready: none at all is another fault."""
    connections, workers = scene.connections(), scene.server.workers()
    if scene.ready() >= 2:
        _kill(scene, max(workers, key=lambda worker: connections.get(worker, 0)))


def _kill_youngest(scene: Scene) -> None:
    """SIGKILL to the worker that was started last, ready or not, but never to the only one."""
    if len(workers := scene.server.workers()) >= 2:
        _kill(scene, max(workers, key=_started))


def _kill(scene: Scene, worker: int) -> None:
    scene.kills.append((time.perf_counter(), worker))
    os.kill(worker, signal.SIGKILL)


def _started(process: int) -> int:
    """In ticks since the system started (Linux)."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])


def _swap(scene: Scene) -> None:
    releases = Releases(scene.world.home)
    releases.activate(next(each for each in scene.world.releases if each != releases.active_id()))


def faults(hang_s: float = 2.0) -> dict[str, Fault]:
    """All of them, by name."""
    ranker_hangs, ranker_well = _wrong("ranker", f"{hang_s}")
    session_hangs, session_well = _wrong("session_model", f"{hang_s}")
    ranker_raises, _ = _wrong("ranker", "")
    index_raises, index_well = _wrong("index", "")
    index_hangs, _ = _wrong("index", f"{hang_s}")
    session_raises, _ = _wrong("session_model", "")
    every = (
        Fault(
            "ranker_hangs",
            f"every call of the ranker hangs for {hang_s:g} s",
            ranker_hangs,
            ranker_well,
            breakers=("ranker",),
        ),
        Fault("ranker_raises", "every call of the ranker raises", ranker_raises, ranker_well, breakers=("ranker",)),
        Fault("index_raises", "every search for near vectors raises", index_raises, index_well),
        Fault(
            "index_hangs",
            f"every search for near vectors hangs for {hang_s:g} s",
            index_hangs,
            index_well,
            breakers=("retrieval",),
        ),
        Fault(
            "session_model_hangs",
            f"every step of the session model hangs for {hang_s:g} s",
            session_hangs,
            session_well,
        ),
        Fault("session_model_raises", "every step of the session model raises", session_raises, session_well),
        Fault(
            "store_frozen",
            "the Redis that holds all states gets SIGSTOP",
            lambda scene: _redis(scene).freeze(),
            lambda scene: _redis(scene).thaw(),
            needs="redis",
        ),
        Fault(
            "store_killed",
            "the Redis that holds all states is killed, and started again with what its file has",
            lambda scene: _redis(scene).stop(),
            lambda scene: _redis(scene).start(),
            needs="redis",
        ),
        Fault(
            "worker_killed",
            "every second the worker with most connections gets SIGKILL, where another one is ready",
            each=_kill_busiest,
            each_s=1.0,
        ),
        Fault(
            "worker_crash_loop",
            "every second the worker that was started last gets SIGKILL, ready or not",
            each=_kill_youngest,
            each_s=1.0,
        ),
        Fault("release_swap", "every 3 s another release is activated", each=_swap, each_s=3.0, needs="two releases"),
        Fault(
            "disk_full",
            "not one block of the disk is free",
            lambda scene: _disk(scene).fill(),
            lambda scene: _disk(scene).free(),
            needs="small disk",
            may_refuse_events=True,
        ),
        Fault(
            "disk_full_worker_killed",
            "not one block of the disk is free, and after 5 s a worker gets SIGKILL",
            lambda scene: _disk(scene).fill(),
            lambda scene: _disk(scene).free(),
            each=_once(_kill_busiest),
            each_s=5.0,
            needs="small disk",
            may_refuse_events=True,
        ),
        Fault(
            "store_killed_worker_killed",
            "the Redis that holds all states is killed, and after 5 s a worker, too",
            lambda scene: _redis(scene).stop(),
            lambda scene: _redis(scene).start(),
            each=_once(_kill_busiest),
            each_s=5.0,
            needs="redis",
        ),
    )
    return {fault.name: fault for fault in every}


def _once(act: Callable[[Scene], None]) -> Callable[[Scene], None]:
    """At the second call and never again: the first is at the very beginning."""
    calls: list[int] = []

    def acted(scene: Scene) -> None:
        calls.append(1)
        if len(calls) == 2:
            act(scene)

    return acted
