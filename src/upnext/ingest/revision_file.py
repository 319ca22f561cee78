"""One number in eight mapped bytes, by which processes tell each other that something changed; knows not what."""

import fcntl
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

_BYTES = 8


class RevisionFile:
    """The last published value of `truth`, read by any process of the machine in well under a microsecond.

    The file is a copy only: opening it, like every `publish`, sets it to `truth()`, which never goes back. So a process
    killed between its commit and `publish` leaves the file behind, but never ahead.
    """

    def __init__(self, path: Path, truth: Callable[[], int]) -> None:
        self._truth = truth
        self._publishing = threading.Lock()  # a file lock keeps out processes, not threads of its own
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if os.fstat(self._file).st_size < _BYTES:
            os.ftruncate(self._file, _BYTES)
        self._map = mmap.mmap(self._file, _BYTES)
        # Native words: loaded and stored whole, so no reader sees half of a change.
        self._words = memoryview(self._map).cast("Q")
        self.publish()

    def get(self) -> int:
        """The value published last, by whichever process."""
        return self._words[0]

    def publish(self) -> None:
        """Sets the file to the truth. Its reading and the writing are one step, or a late writer would set it back."""
        with self._publishing:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                self._words[0] = self._truth()
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._words.release()
        self._map.close()
        os.close(self._file)
