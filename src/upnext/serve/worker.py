"""Uvicorn's server as one worker runs it: connections taken evenly, and drained in the end; knows no application."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from upnext.serve.accept import Acceptor, WorkerCounts
from upnext.serve.connection import Connection

DRAIN_S = 10
_LINGER_S = 1.0  # of it, in which clients that hold a connection open are told with their next answer
_LOOK_S = 0.05
_log = logging.getLogger(__name__)


class WorkerServer(uvicorn.Server):
    """Serves on one socket that is bound already, alone or with other workers.

    At SIGTERM or SIGINT it takes no more connections, gives those that are open one more answer, which says
    `Connection: close`, and closes after a second those that asked nothing. What is under way then has until `DRAIN_S`
    after the signal. A worker whose parent is gone ends in the same way.
    """

    def __init__(self, config: uvicorn.Config, counts: WorkerCounts | None = None) -> None:
        """`counts`: shared with the other workers on the socket; None where there are none."""
        config.timeout_graceful_shutdown = DRAIN_S - 1
        super().__init__(config)
        self._counts = counts
        self._parent = os.getppid() if counts is not None else None
        self._acceptor: Acceptor | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens once the application is ready."""
        if not sockets:
            raise ValueError("a worker serves on a socket that is bound; give it one")
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(uvicorn.config.STARTUP_FAILURE)
        self.servers = []
        sockets[0].listen(self.config.backlog)
        self._acceptor = Acceptor(sockets[0], self._counts, self._begin)
        self._acceptor.start()
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._counts is not None:
            self._counts.beat()
            if os.getppid() != self._parent:
                _log.error("the server's parent process is gone; worker %d ends too", os.getpid())
                return True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains, then stops the application."""
        if self._acceptor is not None:
            self._acceptor.stop()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _LINGER_S
        await asyncio.sleep(0)  # connections just taken begin
        while self.server_state.connections and loop.time() < until_s and not self.force_exit:
            for connection in self.server_state.connections:
                if isinstance(connection, Connection):
                    connection.drain()
            await asyncio.sleep(_LOOK_S)
        await super().shutdown(sockets)
        self._captured_signals.clear()  # it has done as it was told: nothing is left for them to do

    def _begin(self, connection: socket.socket, ended: Callable[[], None]) -> "asyncio.Task[Any]":
        loop = asyncio.get_running_loop()
        state = self.lifespan.state

        def protocol() -> Connection:
            return Connection(self.config, self.server_state, state, loop, ended)

        return loop.create_task(loop.connect_accepted_socket(protocol, connection))
