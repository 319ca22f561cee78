"""One connection of the HTTP server: uvicorn's, that also tells its end, drains, and says when its client is gone."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from upnext.serve.disconnect import CALLER, ONLY_ANSWERS, Caller


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

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._draining:
            self.cycle.keep_alive = False
        if self.scope["path"] in ONLY_ANSWERS:
            self.scope[CALLER] = self._caller  # type: ignore[typeddict-unknown-key]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._caller.go()
        self._ended()
