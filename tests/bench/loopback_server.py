"""A real HTTP server on a loopback port in a thread of its own, whose answers and delays a test decides."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SLATE = b'{"items":[{"item_id":"a","score":1.0},{"item_id":"b","score":0.5}],"tier":"full"}'


@dataclass(frozen=True)
class Answer:
    """What to send `after_ms` a request came. `raw` instead of a response; None hangs up, `never` stays silent."""

    body: bytes = SLATE
    status: int = 200
    after_ms: float = 0.0
    raw: bytes | None = b""
    never: bool = False
    close: bool = False


Behaviour = Callable[[int], Answer]


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """The URL of a server that answers its n-th request, counted from 0, as `behaviour(n)` says."""
    ready, stop = threading.Event(), asyncio.Event()
    url = ""
    loop: asyncio.AbstractEventLoop

    async def serve() -> None:
        nonlocal loop, url
        loop = asyncio.get_running_loop()
        numbers, open_transports = iter(range(1_000_000)), set[asyncio.Transport]()
        server = await loop.create_server(
            lambda: _Answering(behaviour, numbers, open_transports), "127.0.0.1", 0, backlog=512
        )
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        server.close()
        while open_transports:
            for transport in list(open_transports):
                transport.abort()
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


class _Answering(asyncio.Protocol):
    def __init__(self, behaviour: Behaviour, numbers: Iterator[int], open_transports: set[asyncio.Transport]) -> None:
        self._behaviour = behaviour
        self._numbers = numbers
        self._open_transports = open_transports
        self._said_close = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"POST ")
        assert data.count(b"POST ") == 1, "one request at a time on a connection"
        if self._said_close:  # a client that does not listen is cut off
            self._transport.abort()
            return
        answer = self._behaviour(next(self._numbers))
        if not answer.never:
            asyncio.get_running_loop().call_later(answer.after_ms / 1e3, self._answer, answer)

    def _answer(self, answer: Answer) -> None:
        if self._transport.is_closing():
            return
        if answer.raw is None:
            self._transport.abort()
            return
        connection = b"close" if answer.close else b"keep-alive"
        head = b"HTTP/1.1 %d X\r\nconnection: %b\r\ncontent-length: %d\r\n\r\n" % (
            answer.status,
            connection,
            len(answer.body),
        )
        self._transport.write(answer.raw or head + answer.body)
        self._said_close = answer.close
