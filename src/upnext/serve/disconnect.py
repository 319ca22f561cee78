"""Whether anybody still waits for an answer that is being made; knows nothing of connections."""

import asyncio
from typing import Any, Final

CALLER: Final = "upnext.caller"  # in the scope of a request whose work nobody needs once its client is gone
# These only compute an answer. Everything else also changes something, and is brought to its end.
ONLY_ANSWERS: Final = frozenset({"/v1/recommend", "/v1/rank"})
DRAINS: Final = "upnext.drains"  # in the scope of a stream: whether the server ends, so that the stream is to end too
STREAMS: Final = frozenset({"/v1/ops/stream"})


class Caller:
    """Who waits for the answers on one connection, one after the other."""

    __slots__ = ("gone", "task")

    def __init__(self) -> None:
        self.gone = False
        self.task: asyncio.Task[Any] | None = None  # that makes an answer, and may have ended

    def go(self) -> None:
        """The client is gone: what is being made for it is cancelled."""
        self.gone = True
        if self.task is not None:
            self.task.cancel()

    def excuses(self) -> bool:
        """Whether the cancelling of the task was for that, which is then over: it ends as if it had answered."""
        if not self.gone or self.task is None:
            return False
        self.task.uncancel()
        return True
