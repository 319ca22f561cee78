"""GET /v1/ops/slow: the slowest requests of the last hour, of all workers."""

import asyncio
from urllib.parse import parse_qs

from starlette.types import Receive, Scope

from upnext.serve.engine import Engine
from upnext.serve.http import failure
from upnext.serve.messages import SlowResponse

_MOST = 240


class SlowEndpoint:
    """The diary of slow requests over HTTP."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def page(self, scope: Scope, receive: Receive) -> SlowResponse:
        """Query: n, how many, 20 without."""
        text = parse_qs(scope["query_string"].decode()).get("n", ["20"])[0]
        if not text.isdecimal() or not 1 <= int(text) <= _MOST:
            raise failure(400, "bad_request", f"n must be a whole number from 1 to {_MOST}, not {text!r}", path="$.n")
        found = await asyncio.get_running_loop().run_in_executor(None, self._engine.diary.all, int(text))
        return SlowResponse(requests=found)
