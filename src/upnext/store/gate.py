"""A door many may pass at once, or one alone; knows nothing of what is behind it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Short visits share it; whoever needs it alone waits for those inside and holds back newcomers.

    Not re-entrant: a visitor who asks for it alone waits for itself.
    """

    def __init__(self) -> None:
        self._moved = threading.Condition(threading.Lock())
        self._inside = 0
        self._shut = False

    def enter(self) -> None:
        """Comes in, at once unless someone holds the gate alone; every call is answered by one `leave`."""
        with self._moved:
            while self._shut:
                self._moved.wait()
            self._inside += 1

    def leave(self) -> None:
        """Goes out."""
        with self._moved:
            self._inside -= 1
            if self._shut:
                self._moved.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else is inside while the block runs."""
        with self._moved:
            while self._shut:
                self._moved.wait()
            self._shut = True
            while self._inside:
                self._moved.wait()
        try:
            yield
        finally:
            with self._moved:
                self._shut = False
                self._moved.notify_all()
