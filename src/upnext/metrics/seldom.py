"""Failures that every request would log alike, logged now and then; knows not what failed."""

import logging
import threading

from upnext.clock import Clock, SystemClock

_EVERY_MS = 10_000.0
_MOST_KINDS = 200


class Seldom:
    """Logs an exception with its trace once in ten seconds for each kind of it, and says how often it was left out.

    What fails in one request fails in all, and a disk full of traces helps nobody. Any thread may call.
    """

    def __init__(self, log: logging.Logger, clock: Clock | None = None) -> None:
        self._log = log
        self._clock: Clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}  # when it was last logged, how often not since

    def exception(self, message: str, error: BaseException) -> None:
        """`error`, just caught, is logged under `message`, of which there are few."""
        kind, now_ms = (message, type(error).__name__), self._clock.monotonic_ms()
        with self._lock:
            known = self._kinds.get(kind)
            if known is not None and now_ms - known[0] < _EVERY_MS:
                self._kinds[kind] = known[0], known[1] + 1
                return
            if known is None and len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            self._kinds[kind] = now_ms, 0
        often = f" ({known[1]} more times since it was last told)" if known and known[1] else ""
        self._log.error("%s%s", message, often, exc_info=error)
