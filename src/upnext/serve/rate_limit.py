"""How often a key may ask: one limit for all worker processes of a server; knows nothing of HTTP."""

import base64
import ctypes
import errno
import fcntl
import logging
import math
import mmap
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from upnext.clock import Clock
from upnext.errors import SettingsError
from upnext.serve.keys import Key
from upnext.shared_memory import shared_file

_MAGIC = b"upnext rates 1\0\0"
# A slot: the key's id, the theoretical arrival time in ns, and, in a cache line of its own, a mutex.
_SLOT_BYTES, _SLOTS = 128, 4_096
_ID_WORD, _TIME_WORD, _MUTEX_OFFSET_BYTES = 0, 1, 64
_WORDS = _SLOT_BYTES // 8
_NS_PER_S = 1_000_000_000
_TRIES = 50  # about 10 µs, many times as long as the mutex is held
_YIELDS = 5_000  # milliseconds; past that its holder stands still, and the others go on without
_log = logging.getLogger(__name__)


def shared_limits() -> AbstractContextManager[Path]:
    """The file in which the workers of one server count together; for the parent process. Removed at the end."""
    return shared_file("rates", create_limits)


def create_limits(path: Path) -> None:
    """A file of limits, none of them used yet: 512 KiB, of which only what is touched takes memory."""
    with path.open("wb") as file:
        file.write(_MAGIC)
        file.truncate((1 + _SLOTS) * _SLOT_BYTES)


class _Mutex:
    """Robust mutexes of POSIX, shared by processes, each at an address; calls keep the interpreter's lock."""

    def __init__(self) -> None:
        self.works = False
        try:
            c = ctypes.PyDLL(None)
            self._try, self._consistent, self._init = (
                c.pthread_mutex_trylock, c.pthread_mutex_consistent, c.pthread_mutex_init
            )  # fmt: skip
            self.unlock = c.pthread_mutex_unlock
            self._attributes = ctypes.create_string_buffer(64)
            shared, robust = 1, 1
            failed = (
                c.pthread_mutexattr_init(self._attributes)
                or c.pthread_mutexattr_setpshared(self._attributes, shared)
                or c.pthread_mutexattr_setrobust(self._attributes, robust)
            )
        except (OSError, AttributeError):  # another C library
            return
        for function in (self._try, self._consistent, self.unlock):
            function.argtypes = [ctypes.c_void_p]
        self._init.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self.works = not failed

    def init(self, address: int) -> None:
        """A mutex that nobody holds is at `address` from now on."""
        if self.works:
            self._init(address, self._attributes)

    def acquire(self, address: int) -> bool:
        """Whether the caller holds it now, and must `unlock` it. False when its holder stands still."""
        for attempt in range(_TRIES + _YIELDS):
            result = self._try(address)
            if result == errno.EOWNERDEAD:  # died within; what it guards is one number, whole before and after
                self._consistent(address)
                return True
            if result == 0:
                return True
            if attempt >= _TRIES:
                os.sched_yield()
        return False


_MUTEX = _Mutex()


@dataclass(slots=True)
class _Slot:
    """Where one key's limit is, and what it is."""

    key: Key
    words: "memoryview[int]"
    time_word: int
    mutex: int  # its address; 0 where there is none
    interval_ns: int  # between two requests at the rate
    burst_ns: int  # how far ahead of now the theoretical arrival time may get


class RateLimiter:
    """GCRA, the generic cell rate algorithm (ATM Forum, Traffic Management 4.0, 1996; ITU-T I.371), per key.

    A key's whole state is one number, its theoretical arrival time (TAT): when the requests admitted so far would end,
    were they sent at the rate. A request is admitted as long as the TAT does not get further than
    `burst / rate` ahead of now. Over any window, admitted <= burst + rate × window, over all processes together.

    The TAT is read and written under a mutex in the shared map itself, 0.3 µs. (A lock on a byte range of the file was
    measured at 1.5 µs, but lets go of the interpreter, and then waits 5 ms for a thread that computes.) A process that
    dies with the mutex is noticed by the next. One that is stopped with it, within about 1 µs, is waited for a few
    milliseconds; then the others go on without, and what they admit until it runs again may come on top. So too where
    the C library has no such mutex: workers that read one TAT at the same moment may then admit a request each.

    For one thread of each process.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Opens what `create_limits` made. Raises `SettingsError` when it is something else."""
        self._clock = clock
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 0)
        if len(self._map) != (1 + _SLOTS) * _SLOT_BYTES or self._map[: len(_MAGIC)] != _MAGIC:
            self._map.close()
            self._file.close()
            raise SettingsError(f"{path} is no file of rate limits; start the server anew")
        self._words = memoryview(self._map).cast("q")
        # The address stays good as long as the map is open; the object would keep the map from closing.
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._slots: dict[str, _Slot] = {}

    def allow(self, key: Key, cost: int = 1) -> float:
        """0.0 where the request is admitted; else it is not, and would be after so many seconds.

        Infinity for a cost above the key's burst, which is never admitted. Takes 1 to 2 µs; 0.1 µs for a key without a
        rate, which is always admitted.
        """
        if key.rate_per_s is None:
            return 0.0
        slot = self._slots.get(key.id)
        if slot is None or slot.key is not key:
            slot = self._claim(key)
        increment_ns = cost * slot.interval_ns
        if increment_ns > slot.burst_ns:
            return math.inf
        words, at, mutex = slot.words, slot.time_word, slot.mutex
        now_ns = int(self._clock.monotonic_ms() * 1e6)
        locked = mutex != 0 and _MUTEX.acquire(mutex)
        try:
            arrival_ns = words[at]
            if arrival_ns < now_ns:
                arrival_ns = now_ns
            excess_ns = arrival_ns + increment_ns - now_ns - slot.burst_ns
            if excess_ns <= 0:
                words[at] = arrival_ns + increment_ns
                return 0.0
        finally:
            if locked:
                _MUTEX.unlock(mutex)
        return excess_ns / _NS_PER_S

    def close(self) -> None:
        """The limiter is not to be used again. Not within `allow`: the C library remembers a mutex that is held."""
        self._slots.clear()
        self._words.release()
        self._map.close()
        self._file.close()

    def _claim(self, key: Key) -> _Slot:
        """Where this key counts, found or newly taken: once for each key and process, so that a slow lock will do."""
        assert key.rate_per_s is not None
        interval_ns = math.ceil(_NS_PER_S / key.rate_per_s)
        before = self._slots.get(key.id)
        place = (before.words, before.time_word, before.mutex) if before else self._place_of(key.id)
        slot = self._slots[key.id] = _Slot(key, *place, interval_ns, key.burst * interval_ns)
        return slot

    def _place_of(self, key_id: str) -> "tuple[memoryview[int], int, int]":
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            number = self._find(1 + int.from_bytes(base64.b32decode(key_id.upper())))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        if number is None:
            _log.warning("more than %d keys with a rate since the start: %s counts per worker", _SLOTS, key_id)
            return memoryview(bytearray(8)).cast("q"), 0, 0
        mutex = self._address + number * _SLOT_BYTES + _MUTEX_OFFSET_BYTES
        return self._words, number * _WORDS + _TIME_WORD, mutex if _MUTEX.works else 0

    def _find(self, identity: int) -> int | None:
        """Number of the key's slot, which is taken for it where it has none; None when all are taken by others."""
        for probe in range(_SLOTS):
            number = 1 + (identity + probe) % _SLOTS  # the first place is the file's head; ids are random, so no hash
            there = self._words[number * _WORDS + _ID_WORD]
            if there == identity:
                return number
            if there == 0:
                _MUTEX.init(self._address + number * _SLOT_BYTES + _MUTEX_OFFSET_BYTES)
                self._words[number * _WORDS + _TIME_WORD] = 0
                self._words[number * _WORDS + _ID_WORD] = identity  # last: who sees it finds the rest done
                return number
        return None
