"""The few lines of ASGI that every endpoint shares: a body within bounds, JSON out, one shape for every failure."""

import asyncio
import itertools
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.types import Message, Receive, Scope, Send

from upnext.errors import Overloaded, RequestError, StoreError, UpnextError
from upnext.serve.disconnect import CALLER, Caller
from upnext.serve.messages import ErrorBody, ErrorResponse

Handler = Callable[[Scope, Receive], Awaitable[Any]]
_JSON = (b"content-type", b"application/json")
STORE_RETRY_AFTER_S = 1  # what a caller is told to wait whose request the store or the log could not serve
_encoder = msgspec.json.Encoder()
_log = logging.getLogger(__name__)
_numbers = itertools.count()


# Worker processes import this anew, so each has a start of its own.
_worker = f"{os.getpid():x}-{os.urandom(4).hex()}-"


def new_request_id() -> str:
    """Unique among all workers: process, a random start, a running number."""
    return f"{_worker}{next(_numbers):x}"


class Endpoint:
    """An ASGI application around one handler: its result leaves as JSON, its failure in the one error shape."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, retry_after_s = 200, None
        try:
            body = _encoder.encode(await self._handler(scope, receive))
        except asyncio.CancelledError:
            caller: Caller | None = scope.get(CALLER)
            if caller is None or not caller.excuses():
                raise
            return
        except RequestError as error:
            status, body = error.status, failure_body(error.code, str(error), error.path)
        except Overloaded as error:
            status, body, retry_after_s = 503, failure_body("overloaded", str(error)), error.retry_after_s
        except StoreError as error:
            _log.exception("a request failed for the store's sake")
            status, body, retry_after_s = 503, failure_body("store_unavailable", str(error)), STORE_RETRY_AFTER_S
        except UpnextError as error:
            _log.exception("a request failed")
            status, body = 500, failure_body("internal", str(error), "$")
        except Exception:
            _log.exception("unforeseen failure of %s %s", scope["method"], scope["path"])
            status, body = 500, unforeseen_body()
        await respond(send, status, body, retry_after_s=retry_after_s)


def unforeseen_body() -> bytes:
    """The error of a failure that has no words of its own."""
    message = "something failed that nobody foresaw; the server's log has the details of about this time"
    return failure_body("internal", message)


class Plain:
    """An ASGI application around a handler that says status, body and content type itself."""

    def __init__(self, handler: Callable[[], tuple[int, bytes, str]], *, slow: bool = False) -> None:
        """A `slow` handler runs in a thread of its own, away from the event loop."""
        self._handler = handler
        self._slow = slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._slow:
            status, body, content_type = await asyncio.get_running_loop().run_in_executor(None, self._handler)
        else:
            status, body, content_type = self._handler()
        await respond(send, status, body, content_type.encode())


async def respond(
    send: Send, status: int, body: bytes, content_type: bytes | None = None, *, retry_after_s: int | None = None
) -> None:
    """Sends a whole response; JSON unless told otherwise."""
    kind = _JSON if content_type is None else (b"content-type", content_type)
    headers = [kind, (b"content-length", b"%d" % len(body))]
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def failure(status: int, code: str, message: str, path: str = "$") -> RequestError:
    """A failure to raise from a handler; `path` where one field is to blame."""
    return RequestError(message, status=status, code=code, path=path)


def failure_body(code: str, message: str, path: str = "$") -> bytes:
    """The one error shape, as JSON."""
    body = ErrorBody(code=code, message=message, path=path, request_id=new_request_id())
    return _encoder.encode(ErrorResponse(error=body))


def content_type_of(scope: Scope) -> str:
    """The request's content type, "" where it names none."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            return str(value, "latin-1")
    return ""


async def read_body(receive: Receive, most_bytes: int) -> bytes:
    """The request's body. Raises `RequestError` 413 past `most_bytes`."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        _check_size(len(body), most_bytes)
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("the client went away before the whole body was there", code="disconnected")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        _check_size(size, most_bytes)
    return b"".join(parts)


def _check_size(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise RequestError(
            f"the body has more than {most_bytes} bytes; send less at once", status=413, code="body_too_large"
        )
