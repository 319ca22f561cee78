"""One keep-alive HTTP connection to await answers on; knows nothing of what is asked."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

import msgspec


class Reply(NamedTuple):
    """Status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        decoded: dict[str, object] = msgspec.json.decode(self.body)
        return decoded


class Line:
    """Opened with the first request, and anew after it broke. One request at a time."""

    def __init__(self, port: int, *, timeout_s: float = 10.0) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> Reply:
        """Raises `OSError` when there was no whole answer: then nobody knows what became of the request."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return await self._ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def get(self, path: str) -> Reply:
        """Raises as `post` does."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def close(self) -> None:
        if self._streams is not None:
            with suppress(RuntimeError):  # the event loop has ended
                self._streams[1].close()
            self._streams = None

    async def _ask(self, request: bytes) -> Reply:
        try:
            return await asyncio.wait_for(self._exchange(request), self._timeout_s)
        except asyncio.IncompleteReadError as error:
            self.close()
            raise ConnectionError("the connection ended within the answer") from error
        except BaseException:  # a later answer on this connection could be taken for another's
            self.close()
            raise

    async def _exchange(self, request: bytes) -> Reply:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.close()
        return Reply(int(head[0].split()[1]), headers, body)
