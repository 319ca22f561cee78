"""The reference event log: lists behind one lock, for tests; it survives nothing."""

import secrets
import threading
from collections.abc import Iterator, Sequence
from itertools import islice

from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.ingest.event_bytes import identity_of
from upnext.ingest.subject_index import subject_of_event


class MemoryEventLog:
    """`EventLog` in this process's memory; durable only as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._identity = secrets.token_hex(16)
        self._events: list[Event | None] = []  # the event with number n is at n - 1; None: erased
        self._known: set[bytes] = set()
        self._closed = False

    def identity(self) -> str:
        self._check_open()
        return self._identity

    def append(self, events: Sequence[Event]) -> list[int | None]:
        identities = [identity_of(event) for event in events]
        with self._lock:
            self._check_open()
            return [self._append(event, identity) for event, identity in zip(events, identities, strict=True)]

    def read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        with self._lock:
            self._check_open()
            return list(islice(self._kept(after), max(limit, 0)))

    def scan(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        self._check_open()
        return self._scan(after)

    def of_subject(self, subject: str) -> list[tuple[int, Event]]:
        with self._lock:
            self._check_open()
            return [(number, event) for number, event in self._kept(0) if subject_of_event(event) == subject]

    def forget(self, subjects: Sequence[str]) -> int:
        with self._lock:
            self._check_open()
            erased = [number for number, event in self._kept(0) if subject_of_event(event) in set(subjects)]
            for number in erased:
                self._events[number - 1] = None
            return len(erased)

    def count(self) -> int:
        with self._lock:
            self._check_open()
            return sum(1 for _ in self._kept(0))

    def last(self) -> int:
        with self._lock:
            self._check_open()
            return len(self._events)

    def close(self) -> None:
        self._closed = True

    def _append(self, event: Event, identity: bytes) -> int | None:
        if identity in self._known:
            return None
        self._known.add(identity)
        self._events.append(event)
        return len(self._events)

    def _kept(self, after: int) -> Iterator[tuple[int, Event]]:
        """What is above `after` and not erased; for callers that hold the lock."""
        after = max(after, 0)
        places = islice(self._events, after, None)
        return ((number, event) for number, event in enumerate(places, after + 1) if event is not None)

    def _scan(self, after: int) -> Iterator[tuple[int, Event]]:
        while batch := self.read(after, 1000):
            yield from batch
            after = batch[-1][0]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the memory log is closed; open another")
