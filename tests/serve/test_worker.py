"""A worker over real connections: how it drains, and what becomes of a slate whose client goes away."""

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.serve.conftest import PATIENT
from upnext.clock import SystemClock
from upnext.domain.event import Event
from upnext.metrics.recorder import Metrics
from upnext.serve.app import create_app
from upnext.serve.engine import Engine
from upnext.serve.worker import WorkerServer
from upnext.settings import PressureSettings

_PATIENCE_S = 30.0
_WAITING = 50
Answering = Callable[[Scope, Receive, Send], Awaitable[None]]


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.002)


class Running:
    """A worker in a thread of its own, on a port of its own."""

    def __init__(self, app: ASGIApp, lifespan: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        config = uvicorn.Config(
            app, lifespan="on" if lifespan == "on" else "off", loop="uvloop", ws="none", log_config=None
        )
        self.server = WorkerServer(config)
        self._thread = threading.Thread(target=self.server.run, args=([self._listener],))
        self._sockets = ExitStack()

    def start(self) -> None:
        self._thread.start()
        until(lambda: self.server.started)

    def connect(self) -> socket.socket:
        return self._sockets.enter_context(socket.create_connection(self.address, timeout=_PATIENCE_S))

    def tell_to_end(self) -> None:
        self.server.should_exit = True

    def end(self) -> None:
        self.tell_to_end()
        self._sockets.close()
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()


@contextmanager
def running(app: ASGIApp, lifespan: str = "off") -> Iterator[Running]:
    worker = Running(app, lifespan)
    worker.start()
    try:
        yield worker
    finally:
        worker.end()


def request(path: str = "/", body: bytes = b"{}") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: upnext\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


def answer_on(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one answer; both empty where the connection was closed instead."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65_536)):
            assert not data
            return b"", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(65_536)
    return head, body


class Gate:
    """An application that answers `/slow` only when told to, and everything else at once."""

    def __init__(self) -> None:
        self.waiting = 0
        self.open = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            self.waiting += 1
            await asyncio.get_running_loop().run_in_executor(None, self.open.wait, _PATIENCE_S)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_a_worker_that_ends_answers_what_is_under_way_and_says_that_it_was_the_last(gate: Gate) -> None:
    with running(gate) as worker:
        connection = worker.connect()
        connection.sendall(request("/slow"))
        until(lambda: gate.waiting == 1)
        worker.tell_to_end()
        until(lambda: worker.server._acceptor is not None and not worker.server._acceptor._listening)
        gate.open.set()
        head, body = answer_on(connection)
        assert body == b"ok"
        assert b"connection: close" in head
        assert connection.recv(1) == b""


def test_a_connection_held_open_gets_one_more_answer_from_a_worker_that_ends(gate: Gate) -> None:
    with running(gate) as worker:
        connection = worker.connect()
        connection.sendall(request())
        assert b"connection: close" not in answer_on(connection)[0]
        worker.tell_to_end()
        until(lambda: worker.server._acceptor is not None and not worker.server._acceptor._listening)
        connection.sendall(request())
        head, body = answer_on(connection)
        assert body == b"ok"
        assert b"connection: close" in head


def test_a_connection_on_which_nothing_is_asked_is_closed_and_the_worker_ends(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upnext.serve.worker._LINGER_S", 0.1)
    with running(gate) as worker:
        used, unused = worker.connect(), worker.connect()
        used.sendall(request())
        answer_on(used)
        until(lambda: len(worker.server.server_state.connections) == 2)
        worker.tell_to_end()
        assert used.recv(1) == b""
        assert unused.recv(1) == b""
        until(lambda: not worker.alive)


def test_what_waits_in_the_socket_when_the_only_worker_ends_is_answered(gate: Gate) -> None:
    with running(gate) as worker:
        until(lambda: worker.server._acceptor is not None)
        blocked, go_on = threading.Event(), threading.Event()

        def block() -> None:
            blocked.set()
            go_on.wait(_PATIENCE_S)

        assert worker.server._acceptor is not None
        worker.server._acceptor._loop.call_soon_threadsafe(block)
        assert blocked.wait(_PATIENCE_S)
        connections = [worker.connect() for _ in range(10)]
        for connection in connections:
            connection.sendall(request())
        worker.tell_to_end()
        go_on.set()
        assert [answer_on(connection)[1] for connection in connections] == [b"ok"] * 10


class Slates:
    """A whole application whose compute thread can be held up, and which counts what it computes."""

    def __init__(self, home: Path) -> None:
        pressure = PressureSettings(admission_start=100)
        metrics = Metrics()
        self.engine = Engine(home, msgspec.structs.replace(PATIENT, pressure=pressure), SystemClock(), metrics)
        self.app = create_app(self.engine, metrics)
        self.computed = 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._answer = self.engine.answer

    def hold_up(self) -> None:
        """From now on what is computed is counted, and waits for `go_on`."""

        def answer(*arguments: object) -> None:
            self.computed += 1
            self.begun.set()
            self.go_on.wait(_PATIENCE_S)
            self._answer(*arguments)  # type: ignore[arg-type]

        self.engine.answer = answer  # type: ignore[method-assign]


@pytest.fixture
def slates(home: Path) -> Iterator[Slates]:
    slates = Slates(home)
    yield slates
    slates.go_on.set()


@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/rank"])
def test_slates_that_wait_are_not_computed_once_their_clients_are_gone(
    slates: Slates, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    admission = slates.engine.steering.admission
    with running(slates.app, "on") as worker, caplog.at_level(logging.WARNING):
        slates.hold_up()
        scored, items = count_scores(slates), some_items(slates)
        first = worker.connect()
        first.sendall(request("/v1/recommend", b'{"user_id": "first"}'))
        assert slates.begun.wait(_PATIENCE_S)
        waiting = [worker.connect() for _ in range(_WAITING)]
        for number, connection in enumerate(waiting):  # different users: what is asked twice is computed once
            body = {"user_id": f"waiting-{number}"} | ({"items": items} if path == "/v1/rank" else {})
            connection.sendall(request(path, json.dumps(body).encode()))
        until(lambda: slates.engine.compute._queue.qsize() == _WAITING)
        assert admission.inside == (1 + _WAITING if path == "/v1/recommend" else 1)
        for connection in waiting:
            connection.close()
        until(lambda: len(worker.server.server_state.connections) == 1)
        until(lambda: admission.inside == 1)
        until(lambda: len(worker.server.server_state.tasks) == 1)
        before = len(scored)
        slates.go_on.set()
        assert b"200 OK" in answer_on(first)[0]
        assert len(scored) - before <= 1  # of the first, at most
        # The queue is past all of them when the next one has been computed.
        first.sendall(request("/v1/recommend", b'{"user_id": "last"}'))
        assert b"200 OK" in answer_on(first)[0]
        assert slates.computed == 2
        assert len(scored) - before <= 2
        assert admission.inside == 0
    assert "Exception" not in caplog.text


def count_scores(slates: Slates) -> list[int]:
    """Grows by one with every call of the ranker."""
    scored: list[int] = []
    live = slates.engine.live
    assert live is not None
    score = live.funnel.score

    def counted(*arguments: object) -> object:
        scored.append(1)
        return score(*arguments)  # type: ignore[arg-type]

    live.funnel.score = counted  # type: ignore[method-assign, assignment]
    return scored


def some_items(slates: Slates) -> list[str]:
    live = slates.engine.live
    assert live is not None
    return list(live.funnel.catalog.ids.take(np.arange(5)))


def test_events_are_written_although_their_client_is_gone(slates: Slates) -> None:
    appended, go_on, append = threading.Event(), threading.Event(), slates.engine.event_log.append

    def slow(events: list[Event]) -> list[int | None]:
        appended.set()
        go_on.wait(_PATIENCE_S)
        return append(events)

    with running(slates.app, "on") as worker:
        before = slates.engine.event_log.last()
        slates.engine.event_log.append = slow  # type: ignore[method-assign, assignment]
        connection = worker.connect()
        event = {"action": "click", "user_id": "u1", "item_id": "i00003"}
        connection.sendall(request("/v1/events", json.dumps(event).encode()))
        assert appended.wait(_PATIENCE_S)
        connection.close()
        until(lambda: not worker.server.server_state.connections)
        assert len(worker.server.server_state.tasks) == 1  # it was not cancelled
        go_on.set()
        until(lambda: not worker.server.server_state.tasks)
        assert slates.engine.event_log.last() == before + 1
