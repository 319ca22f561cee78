"""One keep-alive HTTP/1.1 connection, one request at a time; knows neither when requests are due nor what they mean."""

import asyncio
from typing import Protocol, cast

import httptools


class Owner(Protocol):
    """Who is told what happens on a connection. `lost` is the last call; from `replied` on it may be used again."""

    def opened(self, connection: "Connection") -> None: ...

    def replied(self, connection: "Connection", status: int, body: bytes) -> None: ...

    def malformed(self, connection: "Connection") -> None: ...

    def lost(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """Sends prepared bytes and hands back status and body, with as little work between the two as Python allows."""

    __slots__ = ("_chunks", "_complete", "_keep_alive", "_owner", "_parser", "_transport", "busy_since_ms", "request")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._complete = False
        self._keep_alive = True
        # Written by the owner: the row of the request in flight, -1 when idle, and when it was sent.
        self.request = -1
        self.busy_since_ms = 0.0

    def send(self, request: bytes) -> None:
        """Write one whole request; only when no other is in flight."""
        assert self._transport is not None
        self._transport.write(request)

    def abort(self) -> None:
        """Close at once; `lost` follows."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def writable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._owner.malformed(self)
            self.abort()
            return
        if self._complete:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.lost(self)

    # What the parser calls, from within feed_data. No on_header: not calling Python per header is most of the speed.

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()  # only right in here

    def _finish(self) -> None:
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._complete = False
        status = self._parser.get_status_code()
        if not self._keep_alive:
            assert self._transport is not None
            self._transport.close()
        self._owner.replied(self, status, body)
