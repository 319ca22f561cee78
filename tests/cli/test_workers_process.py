"""Several workers as real processes: connections are spread evenly, and none is lost when a worker ends or dies."""

import asyncio
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import TrainedHome
from tests.faults.line import Line
from tests.faults.server_process import ServerProcess
from tests.faults.slate_load import SlateLoad
from tests.faults.worker_killed import joined

_PATIENCE_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


@pytest.fixture(scope="module")
def two_workers(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = trained_home.copy(tmp_path_factory.mktemp("workers") / "home")
    server = ServerProcess(home, workers=2, settings=["budget.full_ms=150"])
    try:
        server.start()
        yield server
        assert server.stop() == 0, server.log_end()
    finally:
        server.kill_all()


def both_ready(server: ServerProcess) -> set[int]:
    """Waits until two workers are there that take connections; their process ids."""
    ready: set[int] = set()

    def two() -> bool:
        ready.clear()
        ready.update(joined(server).keys() & set(server.workers()))
        return len(ready) == 2

    until(two)
    return set(ready)


async def worker_of(line: Line) -> int:
    """Process id of the worker that answers on a connection."""
    answer = (await line.post("/v1/recommend", b"{}")).json()
    return int(str(answer["request_id"]).split("-")[0], 16)


@pytest.mark.parametrize("at_once", [1, 64])
def test_64_connections_that_stay_open_are_spread_over_both_workers(two_workers: ServerProcess, at_once: int) -> None:
    async def inside() -> Counter[int]:
        lines = [Line(two_workers.port) for _ in range(64)]
        answered_by: Counter[int] = Counter()
        for first in range(0, 64, at_once):
            answered_by.update(await asyncio.gather(*(worker_of(line) for line in lines[first : first + at_once])))
        for line in lines:
            line.close()
        return answered_by

    workers = both_ready(two_workers)
    until(lambda: sum(joined(two_workers).values()) == 0)
    answered_by = asyncio.run(inside())
    assert set(answered_by) == workers
    assert all(28 <= count <= 36 for count in answered_by.values()), answered_by


@pytest.mark.parametrize("how", ["one worker by SIGTERM", "all, one after the other, by SIGHUP"])
def test_a_worker_that_is_replaced_fails_no_request(two_workers: ServerProcess, how: str) -> None:
    async def inside() -> tuple[SlateLoad, set[int]]:
        load = SlateLoad(two_workers.port, rate_per_s=50)
        load.start(connections=8)
        before = await asyncio.to_thread(both_ready, two_workers)
        if how.startswith("one"):
            outgoing = {min(before)}
            os.kill(min(before), signal.SIGTERM)
        else:
            outgoing = before
            os.kill(parent_of(min(before)), signal.SIGHUP)
        await asyncio.to_thread(until, lambda: not outgoing & set(two_workers.workers()))
        after = await asyncio.to_thread(both_ready, two_workers)
        await load.stop()
        return load, after - before

    load, new = asyncio.run(inside())
    assert load.failed == []
    assert len(load.asked) > 30
    assert len(new) == (1 if how.startswith("one") else 2)


def test_new_connections_are_answered_at_once_while_a_killed_worker_is_replaced(two_workers: ServerProcess) -> None:
    async def inside() -> None:
        before = await asyncio.to_thread(both_ready, two_workers)
        os.kill(victim := max(before), signal.SIGKILL)
        for _ in range(20):
            line = Line(two_workers.port)
            assert await worker_of(line) != victim
            line.close()
        assert victim not in await asyncio.to_thread(both_ready, two_workers)

    asyncio.run(inside())


def parent_of(process_id: int) -> int:
    stat = Path(f"/proc/{process_id}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_is_told_to_end_ends_at_once_with_status_0_and_leaves_no_files(
    trained_home: TrainedHome, tmp_path: Path, workers: int
) -> None:
    server = ServerProcess(trained_home.copy(tmp_path / "home"), workers=workers)
    try:
        server.start()
        assert server._process is not None
        parent = server._process.pid
        with socket.create_connection(("127.0.0.1", server.port)) as idle:
            began_s = time.monotonic()
            assert server.stop() == 0, server.log_end()
            assert time.monotonic() - began_s < 10
            assert idle.recv(1) == b""
        assert not list(Path("/dev/shm").glob(f"upnext-*-{parent}-*"))
    finally:
        server.kill_all()


def test_a_server_whose_workers_cannot_start_ends_with_a_status_of_failure(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    home = trained_home.copy(tmp_path / "home")
    tenant = home / "tenants" / "broken"
    (tenant / "log").mkdir(parents=True)
    (tenant / "log" / "data.mdb").write_bytes(b"no database")
    server = ServerProcess(home, workers=2)
    try:
        with pytest.raises(AssertionError, match="the server ended"):
            server.start()
        assert server._process is not None
        assert server._process.returncode > 0
    finally:
        server.kill_all()
