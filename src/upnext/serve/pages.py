"""What every endpoint of a page shares: HTML and files with the headers that browsers heed; knows no page."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from upnext.console.pages import CONTENT_SECURITY_POLICY, StaticFiles
from upnext.errors import RequestError
from upnext.serve.http import failure, failure_body

_GUARDS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]
_FOR_EVER, _NEVER = b"public, max-age=31536000, immutable", b"no-store"


class Sent(NamedTuple):
    """A page or file as it leaves; one that may be `kept` is never asked for again under the same name."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    kept: bool = False


class PageEndpoint:
    """An ASGI application around a handler of pages; its `RequestError` leaves in the one error shape."""

    def __init__(self, handler: Callable[[Scope, Receive], Awaitable[Sent]]) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            sent = await self._handler(scope, receive)
        except RequestError as error:
            sent = Sent(failure_body(error.code, str(error), error.path), "application/json", error.status)
        headers = [
            (b"content-type", sent.content_type.encode()),
            (b"content-length", b"%d" % len(sent.body)),
            (b"cache-control", _FOR_EVER if sent.kept else _NEVER),
            *_GUARDS,
        ]
        await send({"type": "http.response.start", "status": sent.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else sent.body})


def sent_file(files: StaticFiles, hashed: str) -> Sent:
    """A static file. Raises `RequestError` 404 for a name that is none of this version's."""
    file = files.find(hashed)
    if file is None:
        raise failure(404, "not_found", f"there is no file {hashed!r}; load the page that named it anew")
    return Sent(file.content, file.content_type, kept=True)
