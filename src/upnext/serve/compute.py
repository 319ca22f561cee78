"""The one thread that computes: jobs in, results to the event loop; whoever waits stops waiting at the deadline."""

import asyncio
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from upnext.clock import Deadline

Job = Callable[[], None]
_log = logging.getLogger(__name__)


class ComputeThread:
    """Runs jobs one after the other, so native libraries never compete for the worker's core.

    A job whose deadline passed while it was queued is not started.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Job, Deadline, asyncio.Future[bool], asyncio.AbstractEventLoop] | None] = (
            SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._thread.start()

    async def run(self, job: Job, deadline: Deadline) -> bool:
        """True once `job` has run, False when the deadline came first; it may then still be running, or never start.

        An exception of the job is raised here, unless the deadline came first.
        """
        left_ms = deadline.left_ms()
        if left_ms <= 0:
            return False
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(left_ms / 1_000, _settle, done, False)
        self._queue.put((job, deadline, done, loop))
        try:
            return await done
        finally:
            timer.cancel()

    def close(self) -> None:
        """Ends the thread after the jobs that are queued."""
        self._queue.put(None)
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            job, deadline, done, loop = task
            if done.done() or deadline.passed():
                continue
            try:
                job()
            except Exception as error:
                _log.exception("a job of the compute thread failed")
                _tell(loop, _fail, done, error)
            else:
                _tell(loop, _settle, done, True)


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:  # the loop was closed meanwhile: nobody waits
        _log.debug("a result came after the event loop was closed")


def _settle(done: "asyncio.Future[bool]", result: bool) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: "asyncio.Future[bool]", error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
