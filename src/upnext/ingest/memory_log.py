"""The reference event log: lists behind one lock, for tests; it survives nothing."""

import threading
from collections.abc import Iterator, Sequence

from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.ingest.event_bytes import identity_of


class MemoryEventLog:
    """`EventLog` in this process's memory; durable only as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []  # the event with number n is at n - 1
        self._known: set[bytes] = set()
        self._closed = False

    def append(self, events: Sequence[Event]) -> list[int | None]:
        identities = [identity_of(event) for event in events]
        with self._lock:
            self._check_open()
            return [self._append(event, identity) for event, identity in zip(events, identities, strict=True)]

    def read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        with self._lock:
            self._check_open()
            after = max(after, 0)
            return list(enumerate(self._events[after : after + max(limit, 0)], after + 1))

    def scan(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        self._check_open()
        return self._scan(after)

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

    def _scan(self, after: int) -> Iterator[tuple[int, Event]]:
        while batch := self.read(after, 1000):
            yield from batch
            after = batch[-1][0]

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the memory log is closed; open another")
