"""The parent of the worker processes: starts them, replaces those that end, ends them; knows not what they serve."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from upnext.serve.accept import WorkerCounts

_LOOK_S = 0.25
_HUNG_S = 30.0  # without a turn of its event loop, and the worker is killed
_KILL_S = 45.0  # after the order to end: longer than a drain and the last commit take
_BACKOFF_S = (0.1, 5.0)  # before another worker is started, when the last ones ended before they were ready
_log = logging.getLogger(__name__)


class Worker:
    """One process, and what its parent has seen of it."""

    def __init__(self, process: SpawnProcess) -> None:
        self.process = process
        self.pid = process.pid or 0
        self.ready = False  # at some time
        self.leaving = False  # takes no connections any more: it is drained, and another one has its place
        self._beat_ns = 0
        self._silent_s = 0.0

    def look(self, beat_ns: int | None, passed_s: float) -> None:
        """`beat_ns`: of its slot, None where it has none; after `passed_s` in which the parent was awake."""
        if beat_ns is None:
            self.leaving = self.ready
            return
        self.ready = True
        self._silent_s = self._silent_s + passed_s if beat_ns == self._beat_ns else 0.0
        self._beat_ns = beat_ns

    @property
    def hung(self) -> bool:
        """Whether its event loop has not turned for so long that nobody waits for it any more."""
        return self._silent_s >= _HUNG_S


class Supervisor:
    """Keeps `n_workers` processes at work until told to stop by SIGTERM or SIGINT.

    A worker that is killed or fails is replaced at once, and one that drains (it was sent SIGTERM) as soon as it takes
    no more connections; SIGHUP replaces all, one after the other, each leaving when its successor is ready. Before
    any worker was ever ready, one that fails, other than by a signal, ends all: the next would fail as well.
    """

    def __init__(
        self, target: Callable[..., None], listener: socket.socket, n_workers: int, counts: WorkerCounts
    ) -> None:
        """Each worker runs `target(listener)` in a fresh process (spawn), and joins `counts` when it is ready."""
        self._target = target
        self._listener = listener
        self._n_workers = n_workers
        self._counts = counts
        self._workers: list[Worker] = []
        self._outgoing: list[Worker] = []  # by SIGHUP: still to be replaced, the next one last
        self._ever_ready = False
        self._failures = 0  # in a row, of workers that never became ready
        self._start_from_s = 0.0
        self._signals: list[int] = []

    def run(self) -> int:
        """Until told to stop and all workers have ended; the exit status: 0, or that of a worker that failed."""
        status, before_s = 0, time.monotonic()
        with self._heard() as woken:
            while not status and not {signal.SIGTERM, signal.SIGINT} & set(self._signals):
                if signal.SIGHUP in self._signals:
                    self._signals.remove(signal.SIGHUP)
                    self._outgoing = self._staying()
                self._fill()
                wait([*(worker.process.sentinel for worker in self._workers), woken], timeout=_LOOK_S)
                _emptied(woken)
                now_s = time.monotonic()
                self._look(min(now_s - before_s, 2 * _LOOK_S))  # less than what passed while all were suspended
                before_s = now_s
                status = self._bury()
                self._roll()
            self._end()
        return status

    def _staying(self) -> list[Worker]:
        return [worker for worker in self._workers if not worker.leaving]

    def _fill(self) -> None:
        """Starts as many workers as are missing."""
        wanted = self._n_workers + bool(self._outgoing)
        if time.monotonic() < self._start_from_s:
            return
        while len(self._staying()) < wanted:
            process = get_context("spawn").Process(target=self._target, args=(self._listener,))
            process.start()
            self._workers.append(Worker(process))

    def _look(self, passed_s: float) -> None:
        beats = self._counts.beats()
        for worker in self._workers:
            worker.look(beats.get(worker.pid), passed_s)
            if worker.ready:
                self._ever_ready, self._failures = True, 0
            if worker.hung:
                _log.error("worker %d has not answered anybody for %g s; it is killed", worker.pid, _HUNG_S)
                worker.process.kill()

    def _bury(self) -> int:
        """Forgets workers that have ended; the status of one, when there is no sense in starting others."""
        for worker in [worker for worker in self._workers if not worker.process.is_alive()]:
            self._workers.remove(worker)
            status = worker.process.exitcode or 0
            worker.process.close()
            if worker.leaving:
                continue
            _log.warning("worker %d has ended with status %s; another one takes its place", worker.pid, status)
            if not worker.ready:
                if status > 0 and not self._ever_ready:
                    return status
                least_s, most_s = _BACKOFF_S
                self._start_from_s = time.monotonic() + min(least_s * 2**self._failures, most_s)
                self._failures += 1
        return 0

    def _roll(self) -> None:
        """While all are being replaced: with one more ready than are wanted, the next leaves."""
        self._outgoing = [worker for worker in self._outgoing if worker in self._staying()]
        if self._outgoing and sum(worker.ready for worker in self._staying()) > self._n_workers:
            next_one = self._outgoing.pop()
            next_one.leaving = True
            os.kill(next_one.pid, signal.SIGTERM)

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        give_up_s = time.monotonic() + _KILL_S
        for worker in self._workers:
            worker.process.join(max(give_up_s - time.monotonic(), 0.0))
            if worker.process.is_alive():
                _log.error("worker %d does not end; it is killed", worker.pid)
                worker.process.kill()
                worker.process.join()

    @contextmanager
    def _heard(self) -> Iterator[socket.socket]:
        """Signals are noted instead of acted on, and wake whoever waits for the socket that this gives."""
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)

        def note(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        waker_before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            yield woken
        finally:
            signal.set_wakeup_fd(waker_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            woken.close()
            waker.close()


def _emptied(woken: socket.socket) -> None:
    try:
        woken.recv(4_096)
    except BlockingIOError:
        return
