"""Whether anybody still waits for an answer that is being made; knows nothing of connections."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

CALLER: Final = "upnext.caller"  # in the scope of a request whose work nobody needs once its client is gone
# These only compute an answer. Everything else also changes something, and is brought to its end.
ONLY_ANSWERS: Final = frozenset({"/v1/recommend", "/v1/rank"})


class Caller:
    """Who waits for the answers on one connection, one after the other."""

    __slots__ = ("_task", "gone")

    def __init__(self) -> None:
        self.gone = False
        self._task: asyncio.Task[Any] | None = None  # that makes an answer now

    def go(self) -> None:
        """The client is gone: what is being made for it is cancelled."""
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    async def wait_for(self, answer: Awaitable[None]) -> None:
        """Awaits `answer` in this task, and returns early, `answer` being cancelled, when the client goes."""
        self._task = task = asyncio.current_task()
        try:
            await answer
        except asyncio.CancelledError:
            if not self.gone:
                raise
            if task is not None:
                task.uncancel()
        finally:
            self._task = None
