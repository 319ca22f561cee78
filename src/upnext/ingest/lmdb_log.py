"""The embedded event log: LMDB, durable, shared by the processes of one machine; knows nothing of what events mean."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.ingest.event_bytes import decode, encode, identity_of
from upnext.store.lmdb_environment import MIB, LmdbEnvironment, Transaction, open_environment, release_environment

_SCAN_BATCH = 10_000
_NUMBER = struct.Struct(">Q")  # big-endian, so that byte order is the order of numbers


class LmdbEventLog:
    """`EventLog` in the folder `path`. Opening the folder again in one process shares what is open.

    One append is one transaction with one flush of the disk, so append in groups.
    """

    def __init__(self, path: Path, *, map_size_bytes: int = 1024 * MIB) -> None:
        self._path = path
        self._open: LmdbEnvironment | None = open_environment(path, durable=True, map_size_bytes=map_size_bytes)
        self._events = self._open.database(b"events")  # number -> event
        self._ids = self._open.database(b"ids")  # digest of tenant and event id -> number

    def append(self, events: Sequence[Event]) -> list[int | None]:
        environment = self._environment()
        identities = [identity_of(event) for event in events]
        encoded = [encode(event) for event in events]

        def append(transaction: Transaction) -> list[int | None]:
            ids = transaction.cursor(self._ids)
            known = {identity for identity, _ in ids.getmulti(identities)}
            numbers: list[int | None] = []
            fresh: dict[bytes, bytes] = {}
            log: list[tuple[bytes, bytes]] = []
            number = self._last(transaction)
            for identity, raw in zip(identities, encoded, strict=True):
                if identity in known or identity in fresh:
                    numbers.append(None)
                    continue
                number += 1
                fresh[identity] = key = _NUMBER.pack(number)
                log.append((key, raw))
                numbers.append(number)
            transaction.cursor(self._events).putmulti(log, append=True)
            ids.putmulti(fresh.items())
            return numbers

        return environment.write(append) if events else []

    def read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        return [(number, decode(number, raw)) for number, raw in self._read(after, limit)]

    def scan(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """As promised by `EventLog`; reads batch by batch, so no snapshot is held while the caller works."""
        self._environment()
        return self._scan(after)

    def last(self) -> int:
        return self._environment().read(self._last)

    def close(self) -> None:
        environment, self._open = self._open, None
        if environment is not None:
            release_environment(environment)

    def _environment(self) -> LmdbEnvironment:
        if self._open is None:
            raise StoreError(f"the event log at {self._path} is closed; open it again")
        return self._open

    def _last(self, transaction: Transaction) -> int:
        cursor: Any = transaction.cursor(self._events)
        return int.from_bytes(cursor.key(), "big") if cursor.last() else 0

    def _read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        def read(transaction: Transaction) -> list[tuple[int, bytes]]:
            cursor = transaction.cursor(self._events)
            if not cursor.set_range(_NUMBER.pack(max(after, 0) + 1)):
                return []
            rows = zip(range(limit), cursor.iternext(), strict=False)
            return [(int.from_bytes(key, "big"), raw) for _, (key, raw) in rows]

        return self._environment().read(read)

    def _scan(self, after: int) -> Iterator[tuple[int, Event]]:
        while rows := self._read(after, _SCAN_BATCH):
            for number, raw in rows:
                yield number, decode(number, raw)
            after = rows[-1][0]
