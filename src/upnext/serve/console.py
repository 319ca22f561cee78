"""The operations console: its page, the figures on it, and the stream that keeps them alive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from urllib.parse import parse_qs

import msgspec
from starlette.types import Message, Receive, Scope, Send

from upnext.console.operations import STATIC, page_html
from upnext.errors import RequestError, UpnextError
from upnext.metrics.recorder import Metrics
from upnext.serve.disconnect import DRAINS
from upnext.serve.engine import Engine
from upnext.serve.figures import RegionFigures, Standing
from upnext.serve.http import failure, failure_body, respond
from upnext.serve.live_figures import WINDOWS_S, LiveFigures, Sampler
from upnext.serve.pages import Sent, sent_file

MOST_STREAMS = 16  # of one worker
_MOST_REGIONS = 50
_STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


class Console:
    """Page and figures of one worker. The page holds no data: its script asks, with the key that is typed into it."""

    def __init__(self, engine: Engine, metrics: Metrics, *, live: LiveFigures | None = None) -> None:
        self._engine = engine
        self._live = live or LiveFigures(Sampler(metrics, engine.clock), self.standing)
        self._page = page_html().encode()
        self._streams = 0

    def close(self) -> None:
        """Ends its thread."""
        self._live.close()

    async def page(self, scope: Scope, receive: Receive) -> Sent:
        """The shell, that its script fills."""
        return Sent(self._page)

    async def static(self, scope: Scope, receive: Receive) -> Sent:
        """Raises `RequestError` 404 for an unknown name."""
        return sent_file(STATIC, scope["path_params"]["name"])

    async def figures(self, scope: Scope, receive: Receive) -> msgspec.Raw:
        """A `FiguresResponse`; query: window_s."""
        return msgspec.Raw(await self._live.current(_window_of(scope)))

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The figures again and again, until the client goes or the server drains; query: window_s."""
        try:
            window_s = _window_of(scope)
            if self._streams >= MOST_STREAMS:
                raise failure(503, "too_many_streams", f"{MOST_STREAMS} streams are open already; close one")
        except RequestError as error:
            await respond(send, error.status, failure_body(error.code, str(error), error.path))
            return
        self._streams += 1
        gone = asyncio.create_task(_gone(receive))
        try:
            await self._send_all(window_s, scope, send, gone)
        finally:
            self._streams -= 1
            gone.cancel()

    def standing(self) -> Standing:
        """How this worker stands now; for the event loop."""
        engine = self._engine
        live, steering = engine.live, engine.steering
        known = live.funnel.catalog.regions if live else []
        return Standing(
            release=live.release_id if live else "",
            breakers={name: breaker.state for name, breaker in engine.breakers.items()},
            steering=[
                RegionFigures(
                    region=region,
                    quality=round(steering.quality_of(region, known), 4),
                    guard=steering.is_guarded(region, known),
                )
                for region in ("", *known[:_MOST_REGIONS])
            ],
        )

    async def _send_all(self, window_s: int, scope: Scope, send: Send, gone: "asyncio.Task[None]") -> None:
        start: Message = {"type": "http.response.start", "status": 200, "headers": _STREAM}
        await send(start)
        drains = scope.get(DRAINS, _never)
        async with aclosing(self._live.updates(window_s)) as updates:
            while not drains():
                body = await _unless(gone, updates)
                if body is None:
                    return
                event = b"event: figures\ndata: " + body + b"\n\n"
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"event: end\ndata: {}\n\n"})


class Stream:
    """An ASGI application around a handler that sends its answer itself, bit by bit."""

    def __init__(self, handler: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handler(scope, receive, send)


async def _unless(gone: "asyncio.Task[None]", updates: AsyncIterator[bytes]) -> bytes | None:
    """The next update; None where the client goes first, or there is none to be had."""
    following = asyncio.ensure_future(anext(updates))
    try:
        await asyncio.wait((gone, following), return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            return None
        with suppress(UpnextError):
            return following.result()
        return None
    finally:
        if not following.done():
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


async def _gone(receive: Receive) -> None:
    """Ends when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _never() -> bool:
    return False


def _window_of(scope: Scope) -> int:
    text = parse_qs(scope["query_string"].decode()).get("window_s", ["60"])[0]
    if not text.isdecimal() or int(text[:6]) not in WINDOWS_S:
        windows = ", ".join(map(str, WINDOWS_S))
        raise failure(400, "bad_request", f"window_s must be one of {windows}, not {text[:40]!r}", path="$.window_s")
    return int(text)
