"""A named follower of the event log with a stored offset, run by one process at a time; knows not what is done.

Delivers at least once: the offset is stored after the events were handled, so a crash in between delivers them again.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from upnext.clock import Clock, Deadline
from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.ingest.log_interface import EventLog
from upnext.store.interface import Store

Handle = Callable[[Sequence[tuple[int, Event]]], None]
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 50e-6, 500e-6  # between two looks at a lock that another process holds
_encode = msgspec.msgpack.Encoder().encode


class _Offset(msgspec.Struct, frozen=True, array_like=True):
    """As it is stored."""

    identity: str  # of the log
    sequence: int
    generation: int  # random, made with the record: another one means that the store had lost it, and what else


_OFFSETS = msgspec.msgpack.Decoder(_Offset)


def stored_generation(name: str, store: Store, deadline: Deadline) -> int:
    """The generation of the consumer of that name, 0 where it has not run yet. See `Consumer.generation`."""
    (raw,) = store.get_many([_key_of(name)], deadline)
    return 0 if raw is None else _OFFSETS.decode(raw).generation


def _key_of(name: str) -> bytes:
    return b"consumer/" + name.encode()


class Consumer:
    """Hands the events of a log to `handle`, each batch in order and after the one before, wherever processes run it.

    `handle` may get events again after a crash and must not mind. When it raises, the offset stays and the error
    passes through. Safe to call from many threads and many processes of one machine.
    """

    def __init__(
        self,
        name: str,
        event_log: EventLog,
        store: Store,
        handle: Handle,
        folder: Path,
        clock: Clock,
        *,
        batch_events: int = 500,
    ) -> None:
        """The offset is in `store` under the consumer's name; the lock among processes is a file in `folder`."""
        self.name = name
        self._event_log = event_log
        self._store = store
        self._handle = handle
        self._batch_events = batch_events
        self._key = _key_of(name)
        self._never = Deadline.never(clock)
        self._identity = event_log.identity()
        self._known = 0  # the offset when this process last saw it
        self._raw = b""  # … as it is stored
        self._generation = 0
        self._turn = threading.Lock()  # among the threads of this process; the file's lock is per open file
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)

    @property
    def generation(self) -> int:
        """Names what the store has kept since it was last found empty. As of the last look at the offset.

        What was made under another generation is to be made anew: the store has lost part of it.
        """
        return self._generation

    def offset(self) -> int:
        """The last event that is handled, by whatever process; 0 for none.

        Raises `StoreError` when the stored offset belongs to another log.
        """
        (raw,) = self._store.get_many([self._key], self._never)
        if raw is None:
            raw = _encode(_Offset(self._identity, 0, secrets.randbits(63)))
            if not self._store.compare_and_set(self._key, None, raw, self._never):
                return self.offset()
        stored = _OFFSETS.decode(raw)
        if stored.identity != self._identity:
            raise StoreError(
                f"the offset of consumer {self.name!r} belongs to event log {stored.identity}, this is "
                f"{self._identity}: what it made of that log does not fit this one. Restore the log, or delete what "
                "the consumer has made, its offset too, to have it made anew from this log"
            )
        self._raw, self._known, self._generation = raw, stored.sequence, stored.generation
        return stored.sequence

    def skip_to(self, sequence: int, generation: int) -> None:
        """Events up to `sequence` count as handled, by other means; waits for whoever runs the consumer now.

        Unless the store has lost something since `generation` was looked at: then all are handled here.
        """
        with self._turn:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            try:
                if self.offset() < sequence and self._generation == generation:
                    self._move_to(sequence)
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def catch_up(self, until: int | None = None, deadline: Deadline | None = None, *, wait: bool = True) -> int:
        """Handles what is in the log up to event `until` (None: up to its end as it is now); returns the new offset.

        It may be less than `until`: when the deadline comes, which is looked at between batches, or without `wait`
        while someone else runs the consumer. When someone else gets past `until` meanwhile, returns at once.
        Raises `StoreError`, and whatever `handle` raises.
        """
        deadline = deadline or self._never
        target = self._event_log.last() if until is None else until
        if self._known >= target:
            return self._known
        left_s = min(max(deadline.left_ms(), 0.0) / 1e3, threading.TIMEOUT_MAX) if wait else 0.0
        if not self._turn.acquire(timeout=left_s):
            return self._known
        try:
            if self._known >= target or not self._locked(target, deadline, wait):
                return self._known
            try:
                return self._handle_until(target, deadline)
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)
        finally:
            self._turn.release()

    def close(self) -> None:
        """Gives the lock's file back; log and store stay open. Nobody may be inside `catch_up`."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def _locked(self, target: int, deadline: Deadline, wait: bool) -> bool:
        """Whether this process has the lock; not when another got to `target`, the time is over, or without `wait`."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self.offset() >= target or not wait or deadline.passed():
                    return False
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return True

    def _handle_until(self, target: int, deadline: Deadline) -> int:
        offset, last = self.offset(), self._event_log.last()
        if offset > last:
            raise StoreError(
                f"consumer {self.name!r} has handled event {offset}, but the log ends with {last}: an older copy of it "
                "was restored. Delete what the consumer has made, its offset too, to have it made anew"
            )
        target = min(target, last)
        while offset < target and not deadline.passed():
            events = [each for each in self._event_log.read(offset, self._batch_events) if each[0] <= target]
            if events:
                self._handle(events)
            # Numbers may be missing where events were erased: all up to the target are handled when none is left.
            offset = self._move_to(events[-1][0] if events else target)
        return offset

    def _move_to(self, sequence: int) -> int:
        """Stores the offset; what it is now. Less where the store has lost it since it was last looked at."""
        raw = _encode(_Offset(self._identity, sequence, self._generation))
        if not self._store.compare_and_set(self._key, self._raw, raw, self._never):
            return self.offset()
        self._raw, self._known = raw, sequence
        return sequence
