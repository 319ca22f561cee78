"""Connections are spread over those that take them; every worker here is one more acceptor in the same event loop."""

import asyncio
import errno
import os
import socket
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from upnext.clock import Clock, ManualClock, SystemClock
from upnext.errors import SettingsError
from upnext.serve.accept import Acceptor, WorkerCounts, create_counts

FOR_EVER_S = 30.0


async def until(condition: Callable[[], bool]) -> None:
    """Lets the event loop turn until the condition holds."""
    while not condition():
        await asyncio.sleep(0.001)


def within(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, FOR_EVER_S))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_counts(tmp_path / "accept")
    return tmp_path / "accept"


_opened: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _close_sockets() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


class Worker:
    """One that takes connections and holds them."""

    def __init__(self, listener: socket.socket, path: Path | None, clock: Clock | None = None) -> None:
        self.held: list[tuple[socket.socket, Callable[[], None]]] = []
        counts = WorkerCounts(path, clock or SystemClock()) if path else None
        self.counts = counts
        self.listener = listener.dup()
        _opened.append(self.listener)
        self.acceptor = Acceptor(self.listener, counts, self._begin)

    def end(self, n: int) -> None:
        """So many connections end."""
        for _ in range(n):
            connection, ended = self.held.pop()
            connection.close()
            ended()

    def _begin(self, connection: socket.socket, ended: Callable[[], None]) -> "asyncio.Future[object]":
        self.held.append((connection, ended))
        _opened.append(connection)
        begun: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        begun.set_result(None)
        return begun


class Clients:
    """A socket that listens, and connections to it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1_000)
        _opened.append(self.listener)

    def connect(self, n: int) -> None:
        _opened.extend(socket.create_connection(self.listener.getsockname()) for _ in range(n))


@pytest.mark.parametrize("at_once", [1, 64])
def test_the_connections_of_a_burst_are_spread_evenly(path: Path, at_once: int) -> None:
    async def inside() -> None:
        clients = Clients()
        workers = [Worker(clients.listener, path) for _ in range(2)]
        for worker in workers:
            worker.acceptor.start()
        for n in range(at_once, 64 + 1, at_once):
            clients.connect(at_once)
            await until(lambda n=n: sum(len(worker.held) for worker in workers) == n)  # type: ignore[misc]
        assert all(28 <= len(worker.held) <= 36 for worker in workers)

    within(inside())


def test_a_worker_whose_connections_end_gets_the_next_ones(path: Path) -> None:
    async def inside() -> None:
        clients = Clients()
        one, other = (Worker(clients.listener, path) for _ in range(2))
        for worker in (one, other):
            worker.acceptor.start()
        clients.connect(40)
        await until(lambda: len(one.held) + len(other.held) == 40)
        one.end(len(one.held))
        before = len(other.held)
        clients.connect(10)
        await until(lambda: len(one.held) + len(other.held) == before + 10)
        assert len(one.held) >= 8

    within(inside())


def test_a_connection_is_taken_all_the_same_where_the_worker_that_should_is_busy(path: Path) -> None:
    async def inside() -> None:
        clients = Clients()
        busy = WorkerCounts(path, SystemClock())
        busy.join(os.getpid())  # beats, and takes nothing
        worker = Worker(clients.listener, path)
        worker.acceptor.start()
        for n in range(1, 6):
            clients.connect(1)
            await until(lambda n=n: len(worker.held) == n)  # type: ignore[misc]
            busy.beat()

    within(inside())


def test_what_waits_while_a_worker_leaves_it_costs_no_turns_of_its_loop(path: Path) -> None:
    async def inside() -> None:
        clients = Clients()
        other = WorkerCounts(path, SystemClock())
        other.join(os.getpid())
        worker = Worker(clients.listener, path)
        worker.acceptor.start()
        clients.connect(3)
        await until(lambda: len(worker.held) == 3)  # as many more than the other as are none too many
        await until(lambda: worker.acceptor._timer is None)
        asked = 0
        assert worker.counts is not None
        least = worker.counts.least_of_others

        def counted() -> int | None:
            nonlocal asked
            asked += 1
            return least()

        worker.counts.least_of_others = counted  # type: ignore[method-assign]
        clients.connect(1)
        for _ in range(1_000):
            if len(worker.held) == 4:
                break
            await asyncio.sleep(0)
        await until(lambda: len(worker.held) == 4)
        assert asked == 1

    within(inside())


def test_a_worker_that_stops_leaves_what_waits_to_the_others(path: Path) -> None:
    async def inside() -> None:
        clients = Clients()
        one, other = (Worker(clients.listener, path) for _ in range(2))
        one.acceptor.start()
        assert other.counts is not None
        other.counts.join(os.getpid())
        clients.connect(1)
        one.acceptor.stop()
        assert one.held == []
        other.acceptor.start()
        await until(lambda: len(other.held) == 1)

    within(inside())


@pytest.mark.parametrize("alone", [True, False])
def test_the_last_worker_that_stops_takes_what_waits(path: Path, alone: bool) -> None:
    async def inside() -> None:
        clients = Clients()
        worker, gone = Worker(clients.listener, None if alone else path), WorkerCounts(path, SystemClock())
        gone.join(os.getpid())
        gone.leave()
        worker.acceptor.start()
        clients.connect(20)
        worker.acceptor.stop()
        assert len(worker.held) == 20
        assert worker.acceptor.open == 20

    within(inside())


def test_without_room_for_another_file_it_looks_again_later_and_does_not_spin(path: Path) -> None:
    async def inside() -> None:
        clients, calls = Clients(), 0

        class Full(socket.socket):
            def accept(self) -> Any:
                nonlocal calls
                calls += 1
                if calls == 1:
                    raise OSError(errno.EMFILE, "too many open files")
                return super().accept()

        worker = Worker(clients.listener, path)
        worker.acceptor._listener = Full(fileno=clients.listener.dup().detach())
        _opened.append(worker.acceptor._listener)
        worker.acceptor.start()
        clients.connect(1)
        await until(lambda: calls > 0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert calls == 1
        await until(lambda: len(worker.held) == 1)

    within(inside())


def test_a_connection_that_never_began_does_not_count_as_open(path: Path) -> None:
    async def inside() -> None:
        clients = Clients()

        began: list[bool] = []

        async def fails() -> None:
            began.append(True)
            raise OSError("gone")

        def begin(connection: socket.socket, ended: Callable[[], None]) -> "asyncio.Future[object]":
            connection.close()
            return asyncio.ensure_future(fails())

        counts = WorkerCounts(path, SystemClock())
        acceptor = Acceptor(clients.listener, counts, begin)
        acceptor.start()
        clients.connect(1)
        await until(lambda: bool(began) and acceptor.open == 0)
        assert counts.opened() == {os.getpid(): 0}

    within(inside())


def a_dead_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_worker_that_is_silent_for_a_second_is_left_out_of_account(path: Path) -> None:
    clock = ManualClock()
    mine, other = WorkerCounts(path, clock), WorkerCounts(path, clock)
    assert mine.least_of_others() is None
    mine.join(os.getpid())
    other.join(os.getppid())
    other.put(3)
    assert mine.least_of_others() == 3
    clock.advance(1_001)
    mine.beat()
    assert mine.least_of_others() is None
    assert other.least_of_others() == 0
    other.beat()
    assert mine.least_of_others() == 3


def test_a_worker_that_left_is_none_of_the_others(path: Path) -> None:
    mine, other = WorkerCounts(path, ManualClock()), WorkerCounts(path, ManualClock())
    mine.join(os.getpid())
    other.join(os.getppid())
    other.close()
    assert mine.least_of_others() is None
    assert set(mine.beats()) == {os.getpid()}


def test_the_slot_of_a_killed_worker_is_taken_by_the_next(path: Path) -> None:
    clock = ManualClock()
    killed, living, successor = (WorkerCounts(path, clock) for _ in range(3))
    killed.join(a_dead_process())
    killed.put(9)
    living.join(os.getpid())
    successor.join(os.getppid())
    assert successor.opened() == {os.getppid(): 0, os.getpid(): 0}


def test_a_file_of_something_else_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(SettingsError, match="start the server anew"):
        WorkerCounts(tmp_path / "other", ManualClock())
