"""The one thread that computes: jobs in, results to the event loop; whoever waits stops waiting at the deadline.

A job that hangs costs its own thread and nothing else: another one takes over the queue. Work that nobody waits for
has its turn when no request does.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeAlias

from upnext.clock import Clock, Deadline, SystemClock
from upnext.metrics.seldom import Seldom

Job: TypeAlias = Callable[[], None]
_LONGEST_CLOSE_MS = 5_000.0
_log = logging.getLogger(__name__)
_failures = Seldom(_log)


@dataclass(slots=True, eq=False)
class _Task:
    job: Job
    deadline: Deadline
    given_up: Callable[[float], None] | None
    done: "asyncio.Future[bool]"
    loop: asyncio.AbstractEventLoop


@dataclass(slots=True, eq=False)
class _Offer:
    job: Job  # that nobody waits for


class _Turn:
    """In the queue of requests: the turn of what was offered. There is never more than one."""


class ComputeThread:
    """Runs jobs one after the other, so native libraries never compete for the worker's core.

    A job whose deadline passed while it was queued is not started. One that runs for `hard_stop_ms` is given up: its
    thread is lost until the job ends by itself, its result is ignored, and a fresh thread goes on with the queue. At
    `most_lost` threads lost at once there is no fresh one, and no job is taken, until one of them comes back.

    Offered jobs are begun one at a time, in their order, and only while no request waits; one that has begun delays
    the requests that come meanwhile by as long as it takes.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        hard_stop_ms: float = 150.0,
        most_lost: int = 8,
        lost: Callable[[int], None] = lambda lost: None,
        *,
        most_offered: int = 256,
    ) -> None:
        """`lost` is called in the event loop, with how many are lost, whenever these have become `most_lost` (≥ 1).

        Of more than `most_offered` (≥ 1) jobs that nobody waits for, the oldest are dropped.
        """
        self._clock: Clock = clock or SystemClock()
        self._hard_stop_ms = hard_stop_ms
        self._most_lost = most_lost
        self._tell_lost = lost
        self._queue: SimpleQueue[_Task | _Turn | None] = SimpleQueue()
        self._offered: deque[_Offer] = deque(maxlen=most_offered)
        self._turn: _Turn | None = None  # in the queue, while there are offered jobs
        self._dropped = 0
        self._lock = threading.Lock()  # over which thread is at work, on what, which are lost, and what is offered
        self._lost: set[_Worker] = set()
        self._worker: _Worker | None = None  # None: all are lost
        self._closed = False
        self._watched: asyncio.AbstractEventLoop | None = None  # in which a timer looks after the thread
        self._last_loop: asyncio.AbstractEventLoop | None = None  # … or did last
        self._replace()

    @property
    def lost(self) -> int:
        """How many threads are lost now, in jobs that hang."""
        return len(self._lost)

    @property
    def dropped(self) -> int:
        """How many offered jobs had to make way for newer ones."""
        return self._dropped

    def offer(self, job: Job) -> None:
        """Takes a job for a moment in which no request waits, which may never come. From any thread; never blocks.

        Given up at the hard stop like any other; an exception of it is logged and nothing more. Jobs that have not
        begun when the thread is closed are dropped.
        """
        with self._lock:
            if self._closed:
                return
            self._dropped += len(self._offered) == self._offered.maxlen
            self._offered.append(_Offer(job))
            if self._turn is not None:
                return
            self._turn = _Turn()
            self._queue.put(self._turn)

    async def run(self, job: Job, deadline: Deadline, given_up: Callable[[float], None] | None = None) -> bool:
        """True once `job` has run, False when the deadline came first; it may then still be running, or never start.

        False also when it is given up at the hard stop; `given_up` is then called, in the event loop, with the
        milliseconds that it has been at it. An exception of the job is raised here, unless False came first.
        """
        left_ms = deadline.left_ms()
        if left_ms <= 0:
            return False
        loop = asyncio.get_running_loop()
        if self._watched is not loop:
            self._watch(loop)
        if self._worker is None:
            return False
        done: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(left_ms / 1_000, _settle, done, False)
        self._queue.put(_Task(job, deadline, given_up, done, loop))
        try:
            return await done
        finally:
            timer.cancel()

    def look(self) -> float | None:
        """Gives the running job up if it is due; a timer does so while there is work.

        The milliseconds after which to look again, None while there is nothing to do.
        """
        worker = self._worker
        if worker is None:
            return None
        task = worker.task
        if task is None:
            return None if self._queue.empty() else self._hard_stop_ms
        spent_ms = self._clock.monotonic_ms() - worker.started_ms
        if spent_ms < self._hard_stop_ms:
            return self._hard_stop_ms - spent_ms
        if self._lose(worker, task) and isinstance(task, _Task):
            _tell(task.loop, _settle, task.done, False)
            if task.given_up is not None:
                _tell(task.loop, task.given_up, spent_ms)
        return self._hard_stop_ms

    def close(self) -> None:
        """Ends the thread after the requests that are queued, but waits for none that hangs: its thread is a daemon."""
        with self._lock:
            self._closed, worker = True, self._worker
            self._offered.clear()
        self._queue.put(None)
        for _ in range(max(1, int(_LONGEST_CLOSE_MS / self._hard_stop_ms))):
            if worker is None or not worker.is_alive():
                return
            task = worker.task
            worker.join(timeout=self._hard_stop_ms / 1_000)
            if task is not None and worker.task is task:
                break
        if worker is not None and worker.is_alive():
            _log.warning("the compute thread does not end; it is left behind")

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer, however many jobs: it comes before any job is due, and then again just when that one is."""

        def again() -> None:
            self._watched = None
            if self.look() is not None:
                self._watch(loop)

        self._watched = self._last_loop = loop
        loop.call_later((self.look() or self._hard_stop_ms) / 1_000, again)

    def _lose(self, worker: "_Worker", task: "_Task | _Offer") -> bool:
        """Whether `worker` is still at `task`, and by that now lost."""
        with self._lock:
            if worker.task is not task or worker is not self._worker:
                return False
            self._lost.add(worker)
            self._worker, lost = None, len(self._lost)
        _log.error("a job hangs for %g ms; its thread is given up, %d are lost now", self._hard_stop_ms, lost)
        self._replace()
        loop = task.loop if isinstance(task, _Task) else self._last_loop
        if lost == self._most_lost and loop is not None:
            _tell(loop, self._tell_lost, lost)
        return True

    def _replace(self) -> None:
        """A fresh thread where none is at work."""
        with self._lock:
            if self._closed or self._worker is not None or len(self._lost) >= self._most_lost:
                return
            worker = self._worker = _Worker(self._work)
        worker.start()

    def _work(self, worker: "_Worker") -> None:
        while (task := self._queue.get()) is not None:
            if isinstance(task, _Turn):
                if not self._take_turn(worker, task):
                    return
                continue
            if task.done.done() or task.deadline.passed():
                continue
            worker.started_ms = self._clock.monotonic_ms()  # before the task, which says that this is its start
            worker.task = task
            error: Exception | None = None
            try:
                task.job()
            except Exception as raised:
                _failures.exception("a job of the compute thread failed", raised)
                error = raised
            if self._came_back(worker):
                return
            if error is None:
                _tell(task.loop, _settle, task.done, True)
            else:
                _tell(task.loop, _fail, task.done, error)

    def _take_turn(self, worker: "_Worker", turn: _Turn) -> bool:
        """Runs one offered job, unless a request waits; False when `worker` was lost meanwhile."""
        if not self._queue.empty():
            self._queue.put(turn)  # behind what waits; at closing behind the end, where nobody takes it
            return True
        with self._lock:
            offer = self._offered.popleft() if self._offered else None
            if self._offered:
                self._queue.put(turn)  # before the job, which may hang: another thread goes on with the next one
            else:
                self._turn = None
        if offer is None:
            return True
        worker.started_ms = self._clock.monotonic_ms()
        worker.task = offer
        try:
            offer.job()
        except Exception as error:
            _failures.exception("a job that was offered to the compute thread failed", error)
        return not self._came_back(worker)

    def _came_back(self, worker: "_Worker") -> bool:
        """Whether `worker`, through with its job, had been lost meanwhile; then another has its place."""
        with self._lock:
            worker.task = None
            if worker not in self._lost:
                return False
            self._lost.remove(worker)
        _log.warning("a job that had been given up has ended; %d are still lost", len(self._lost))
        self._replace()
        return True


class _Worker(threading.Thread):
    """One thread and what it is at."""

    def __init__(self, work: "Callable[[_Worker], None]") -> None:
        super().__init__(name="compute", daemon=True)
        self._work = work
        self.task: _Task | _Offer | None = None
        self.started_ms = 0.0

    def run(self) -> None:
        self._work(self)


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
