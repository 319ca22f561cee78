"""Taking connections from the socket that all workers listen on, evenly; knows nothing of what is said on them."""

import asyncio
import errno
import fcntl
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from upnext.clock import Clock
from upnext.errors import SettingsError
from upnext.shared_memory import Words, create_words, shared_file

_MAGIC = b"upnext accept 1\0"
_HEAD_WORDS = 3  # the magic, and how many slots were ever taken
_USED = 2
_SLOT_WORDS = 3
_PID, _BEAT_NS, _OPEN = range(_SLOT_WORDS)
_SLOTS = 1_024
_N_WORDS = _HEAD_WORDS + _SLOTS * _SLOT_WORDS
_SILENT_MS = 1_000.0  # after which a worker is not counted on; one that is well beats every 100 ms
_AT_ONCE = 4  # connections, where many wait: a busy worker comes back to them late
_LEAD = 2  # connections more than another worker that are none too many
_LEAVE_S = 0.002
_RETRY_S = 0.1
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = logging.getLogger(__name__)


def shared_counts() -> AbstractContextManager[Path]:
    """The file by which the workers of one server know each other; for the parent process. Removed at the end."""
    return shared_file("accept", create_counts)


def create_counts(path: Path) -> None:
    """Counts of no worker yet."""
    create_words(path, _MAGIC, _N_WORDS)


class WorkerCounts:
    """How many connections each worker of a server has open, and when each was last heard of; in shared memory.

    A slot is three 64-bit words: process id (0: free), CLOCK_MONOTONIC in nanoseconds as of the last beat, open
    connections. Only its worker writes to it, and words are read and written whole, being aligned; slots are taken
    under a lock of the file. One whose process is gone is taken again. One that does not beat is left out of account,
    be its worker killed, stopped or hanging.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Opens what `create_counts` made. Raises `SettingsError` when it is something else."""
        self._clock = clock
        self._path = path
        self._file = Words(path, _MAGIC, _N_WORDS, "file of counts of workers")
        self._words = self._file.words
        self._mine: int | None = None  # place of the first word of this worker's slot

    def join(self, process_id: int) -> None:
        """This worker takes connections from now on. Raises `SettingsError` past 1,024 workers."""
        words = self._words
        with self._path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            slot = next((slot for slot in range(_SLOTS) if not _runs(words[_place(slot)])), None)
            if slot is None:
                raise SettingsError(f"more than {_SLOTS} workers; set serve.workers to fewer, one per core is right")
            words[_USED] = max(words[_USED], slot + 1)
            self._mine = _place(slot)
            words[self._mine + _OPEN] = 0
            self.beat()
            words[self._mine + _PID] = process_id  # last: with it the slot counts

    def leave(self) -> None:
        """This worker takes no connections any more."""
        if self._mine is not None:
            self._words[self._mine + _PID] = 0
            self._mine = None

    def beat(self) -> None:
        """This worker is well. To be called several times a second between `join` and `leave`."""
        if self._mine is not None:
            self._words[self._mine + _BEAT_NS] = int(self._clock.monotonic_ms() * 1e6)

    def put(self, n_open: int) -> None:
        """So many connections of this worker are open."""
        if self._mine is not None:
            self._words[self._mine + _OPEN] = n_open

    def least_of_others(self) -> int | None:
        """Fewest open connections of any other worker that is well; None where there is none. About 1 µs for two."""
        words, least = self._words, None
        silent_ns = int((self._clock.monotonic_ms() - _SILENT_MS) * 1e6)
        for slot in range(words[_USED]):
            at = _place(slot)
            if at == self._mine or words[at] == 0 or words[at + _BEAT_NS] < silent_ns:
                continue
            if least is None or words[at + _OPEN] < least:
                least = words[at + _OPEN]
        return least

    def beats(self) -> dict[int, int]:
        """By process id of those that joined and did not leave, alive or not: the time of the last beat, in ns."""
        words = self._words
        slots = [_place(slot) for slot in range(words[_USED])]
        return {words[at + _PID]: words[at + _BEAT_NS] for at in slots if words[at + _PID]}

    def opened(self) -> dict[int, int]:
        """By process id, as `beats`: the number of open connections."""
        words = self._words
        slots = [_place(slot) for slot in range(words[_USED])]
        return {words[at + _PID]: words[at + _OPEN] for at in slots if words[at + _PID]}

    def close(self) -> None:
        """The counts are not to be used again."""
        self.leave()
        self._file.close()


class Acceptor:
    """Takes connections whenever the socket has some, unless a worker with fewer open ones should have them.

    A connection that is left to others is taken all the same when it is still there 2 ms later, since they may be
    busy. For the thread of the event loop.
    """

    def __init__(
        self,
        listener: socket.socket,
        counts: WorkerCounts | None,
        begin: Callable[[socket.socket, Callable[[], None]], "asyncio.Future[object]"],
    ) -> None:
        """`begin` starts to talk on a connection; what it is given besides is to be called once, when that ends.

        A future of `begin` that fails says that it never began. Without `counts` there are no others.
        """
        self._listener = listener
        self._counts = counts
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._beginning: set[asyncio.Future[object]] = set()
        self._open = 0
        self._listening = False

    @property
    def open(self) -> int:
        """Connections taken and not ended."""
        return self._open

    def start(self) -> None:
        """Connections come from now on. Others may listen on the same socket."""
        if self._counts is not None:
            self._counts.join(os.getpid())
        self._listener.setblocking(False)
        self._listening = True
        self._loop.add_reader(self._listener, self._ready)

    def stop(self) -> None:
        """Takes no more; what waits is left to the other workers, or taken now where there is none."""
        if not self._listening:
            return
        self._listening = False
        self._pause(None)
        if self._counts is not None:
            self._counts.leave()  # first, so that of two that stop at once the later one sees that it is the last
        if self._counts is None or self._counts.least_of_others() is None:
            while self._take():
                pass

    def _ready(self) -> None:
        for _ in range(_AT_ONCE):
            least = self._counts.least_of_others() if self._counts is not None else None
            if least is not None and self._open > least + _LEAD:
                self._pause(_LEAVE_S)
                return
            if not self._take():
                return

    def _pause(self, seconds: float | None) -> None:
        """Does not look at the socket for so long; None: for good."""
        self._loop.remove_reader(self._listener)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._again)

    def _again(self) -> None:
        self._timer = None
        self._take()
        if self._timer is None:
            self._loop.add_reader(self._listener, self._ready)

    def _take(self) -> bool:
        """Whether there was a connection."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError):  # another worker was faster
            return False
        except OSError as error:
            if error.errno in _NO_ROOM:
                _log.error("no connection can be taken (%s); raise the limit of open files", error)
                if self._listening:
                    self._pause(_RETRY_S)  # it would be tried again and again otherwise, for as long as one waits
                return False
            return True  # the client had gone already
        connection.setblocking(False)
        self._count(+1)
        beginning = self._begin(connection, self._ended)
        self._beginning.add(beginning)
        beginning.add_done_callback(self._begun)
        return True

    def _begun(self, beginning: "asyncio.Future[object]") -> None:
        self._beginning.discard(beginning)
        if beginning.cancelled() or beginning.exception() is not None:
            self._ended()

    def _ended(self) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        self._open += change
        if self._counts is not None:
            self._counts.put(self._open)


def _place(slot: int) -> int:
    return _HEAD_WORDS + slot * _SLOT_WORDS


def _runs(process_id: int) -> bool:
    if process_id == 0:
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so alive
        return True
    return True
