"""One connection of the HTTP server: uvicorn's, that also tells its end, drains, and says when its client is gone."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from upnext.serve.disconnect import CALLER, DRAINS, ONLY_ANSWERS, STREAMS, Caller

# How the head of a response begins, but for that of an interim one.
_FINAL = tuple(b"HTTP/1.1 %d" % hundreds for hundreds in (2, 3, 4, 5))


class _Corked:
    """A transport that sends the head of a response together with what follows: one call of the system, one packet."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        head = self._head
        if head:
            self._head = b""
            self._transport.write(head + data)
        elif data.startswith(_FINAL):
            self._head = data
        else:
            self._transport.write(data)

    def close(self) -> None:
        if self._head:
            self.write(b"")
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(HttpToolsProtocol):
    """Uvicorn lets a request run on whose client is gone, for it cannot know who else needs what it does.

    We do know of some paths. Nothing watches for that: the transport calls `connection_lost` anyway.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[], None],
    ) -> None:
        """`ended` is called once, when the connection is closed, by whomever."""
        super().__init__(config, server_state, app_state, loop)
        self._ended = ended
        self._caller = Caller()
        self._draining = False

    def drain(self) -> None:
        """The answer that is under way, or else the next one, is the last, and says `Connection: close`."""
        self._draining = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, _Corked(transport))

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._draining:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        scope = cycle.scope
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        if scope["path"] in ONLY_ANSWERS:
            scope[CALLER] = self._caller  # type: ignore[typeddict-unknown-key]
            self._caller.task = task
        elif scope["path"] in STREAMS:
            scope[DRAINS] = lambda: self._draining  # type: ignore[typeddict-unknown-key]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._caller.go()
        self._ended()
