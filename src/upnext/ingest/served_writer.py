"""Served slates on their way from the requests to the disk, written in the background; knows nothing of outcomes."""

import logging
import threading
from collections import deque

from upnext.ingest.served import ServedSlate
from upnext.ingest.served_slates import ServedSlates
from upnext.metrics.seldom import Seldom

_WRITE_EVERY_S = 0.1
_BATCH = 250  # slates in one transaction, during which other processes cannot write
_failures = Seldom(logging.getLogger(__name__))


class ServedWriter:
    """A bounded queue and the thread that empties it. Requests never wait: what finds no place is dropped and counted.

    The thread looks by itself ten times a second, so that a request does not pay for waking it.
    """

    def __init__(self, served: ServedSlates, queue_slates: int) -> None:
        self.written = 0  # slates since the start
        self.dropped = 0  # slates that found the queue full, or could not be written
        self._served = served
        self._queue: deque[ServedSlate] = deque()
        self._queue_slates = queue_slates
        self._writing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="served-writer", daemon=True)

    def start(self) -> None:
        """Begins to write in the background. Without it, `flush` and `close` write."""
        self._thread.start()

    def offer(self, slate: ServedSlate) -> bool:
        """Queues a slate to be written soon; False where it was dropped. Never blocks."""
        if len(self._queue) >= self._queue_slates:
            self.dropped += 1
            return False
        self._queue.append(slate)
        return True

    def flush(self) -> None:
        """Writes everything that is queued now. What cannot be written is dropped, counted and logged."""
        with self._writing:
            for _ in range(-(-len(self._queue) // _BATCH)):
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                try:
                    self._served.put(batch)
                except Exception as error:
                    self.dropped += len(batch)
                    _failures.exception("served slates could not be kept; the ranker will not learn from them", error)
                else:
                    self.written += len(batch)

    def close(self) -> None:
        """Writes what is queued and ends the thread; the slates stay open."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self.flush()

    def _work(self) -> None:
        while not self._stopping.wait(_WRITE_EVERY_S):
            self.flush()
