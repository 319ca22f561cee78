"""Work that a worker does now and then beside its requests, in one thread; knows not what the work is."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from upnext.clock import Clock

_log = logging.getLogger(__name__)


@dataclass
class Round:
    """Something to do every `period_ms`. A failure is logged once for each kind of it in a row, and tried again."""

    name: str
    period_ms: float
    work: Callable[[], object]
    due_ms: float = 0.0
    failing: str = field(default="", repr=False)


class Rounds:
    """One thread, one piece of work after the other."""

    def __init__(self, rounds: Sequence[Round], clock: Clock, *, name: str = "rounds", niceness: int = 0) -> None:
        """The thread is called `name`. With `niceness` it gives way to others; see setpriority(2)."""
        self._rounds = rounds
        self._clock = clock
        self._niceness = niceness
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, wait_s: float = 30.0) -> None:
        """Ends the thread after what it is doing, which is waited for so long."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=wait_s)

    def once(self) -> float:
        """Does what is due; milliseconds until the next is."""
        for each in self._rounds:
            if self._clock.monotonic_ms() >= each.due_ms and not self._stopping.is_set():
                self._do(each)
                each.due_ms = self._clock.monotonic_ms() + each.period_ms
        return min(each.due_ms for each in self._rounds) - self._clock.monotonic_ms()

    def _do(self, each: Round) -> None:
        try:
            each.work()
        except Exception as error:
            kind = f"{type(error).__name__}"
            if kind != each.failing:
                _log.exception("%s failed; trying again every %g ms", each.name, each.period_ms)
            each.failing = kind
        else:
            each.failing = ""

    def _run(self) -> None:
        if self._niceness:
            with suppress(OSError):  # where the system knows no priorities of threads
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while not self._stopping.wait(max(self.once(), 1.0) / 1_000):
            pass
