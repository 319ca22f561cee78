"""The embedded event log: LMDB, durable, shared by the processes of one machine; knows nothing of what events mean."""

import secrets
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.ingest.event_bytes import decode, encode, identity_of
from upnext.ingest.id_index import IdIndex
from upnext.ingest.subject_index import entry_of, numbers_of, subject_keys, subject_of_event
from upnext.store.lmdb_environment import MIB, LmdbEnvironment, Transaction, open_environment, release_environment

_SCAN_BATCH = 10_000
_FORGET_BATCH = 10_000
_NUMBER = struct.Struct(">Q")  # big-endian, so that byte order is the order of numbers
_IDENTITY, _ERASED_UP_TO = b"identity", b"erased"


class LmdbEventLog:
    """`EventLog` in the folder `path`. Opening the folder again in one process shares what is open.

    One append is one transaction with one flush of the disk, so append in groups. After a start of the system the
    first to open the log makes its index of ids again, some 4 µs an event.
    """

    def __init__(self, path: Path, *, map_size_bytes: int = 1024 * MIB) -> None:
        self._path = path
        self._open: LmdbEnvironment | None = open_environment(path, durable=True, map_size_bytes=map_size_bytes)
        self._events = self._open.database(b"events")  # number -> event
        # digests of ids of erased events; `_index` knows the others'. Logs of older versions have all of them here
        self._erased_ids = self._open.database(b"ids")
        self._subjects = self._open.database(b"subjects")  # see `subject_index`
        self._meta = self._open.database(b"meta")  # identity; `last` as it was when events were last erased
        self._identity = self._open.write(self._complete)
        self._index = IdIndex(path, self._identity, self.last, self._read_ids)

    def append(self, events: Sequence[Event]) -> list[int | None]:
        environment = self._environment()
        identities = [identity_of(event) for event in events]
        encoded = [encode(event) for event in events]
        subjects = subject_keys(events)

        def append(transaction: Transaction) -> tuple[list[int | None], int, list[bytes]]:
            before = number = self._last(transaction)
            known = self._index.known(identities, before, partial(self._ids_of, transaction))
            known.update(identity for identity, _ in transaction.cursor(self._erased_ids).getmulti(identities))
            numbers: list[int | None] = []
            fresh: list[bytes] = []
            log: list[tuple[bytes, bytes]] = []
            index: list[tuple[bytes, bytes]] = []
            for identity, raw, subject in zip(identities, encoded, subjects, strict=True):
                if identity in known:
                    numbers.append(None)
                    continue
                number += 1
                known.add(identity)
                fresh.append(identity)
                log.append((_NUMBER.pack(number), raw))
                if subject:
                    index.append((entry_of(subject, number), b""))
                numbers.append(number)
            transaction.cursor(self._events).putmulti(log, append=True)
            transaction.cursor(self._subjects).putmulti(sorted(index))
            return numbers, before, fresh

        if not events:
            return []
        numbers, before, fresh = environment.write(append)
        # The events are in: a failure now is one of the next append, which will try to take the ids in itself.
        with suppress(StoreError):
            self._index.add(before, before + len(fresh), fresh)
        return numbers

    def read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        return [(number, decode(number, raw)) for number, raw in self._read(after, limit)]

    def scan(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """As promised by `EventLog`; reads batch by batch, so no snapshot is held while the caller works."""
        self._environment()
        return self._scan(after)

    def of_subject(self, subject: str) -> list[tuple[int, Event]]:
        def read(transaction: Transaction) -> list[tuple[int, bytes]]:
            numbers = numbers_of(transaction.cursor(self._subjects), subject)
            return [(number, transaction.get(_NUMBER.pack(number), db=self._events)) for number in numbers]

        found = [(number, decode(number, raw)) for number, raw in self._environment().read(read)]
        return [(number, event) for number, event in found if subject_of_event(event) == subject]

    def forget(self, subjects: Sequence[str]) -> int:
        environment = self._environment()
        left = list(dict.fromkeys(subjects))
        erased = after = 0
        while left:
            gone, left, after = environment.write(partial(self._forget, subjects=left, after=after))
            erased += gone
        return erased

    def identity(self) -> str:
        self._environment()
        return self._identity

    def count(self) -> int:
        n_events: int = self._environment().read(lambda transaction: transaction.stat(self._events)["entries"])
        return n_events

    def last(self) -> int:
        return self._environment().read(self._last)

    def close(self) -> None:
        environment, self._open = self._open, None
        if environment is not None:
            self._index.close()
            release_environment(environment)

    def _environment(self) -> LmdbEnvironment:
        if self._open is None:
            raise StoreError(f"the event log at {self._path} is closed; open it again")
        return self._open

    def _complete(self, transaction: Transaction) -> str:
        """The log's identity; a log that has none yet, being new or of a version before the index, gets both."""
        identity = transaction.get(_IDENTITY, db=self._meta)
        if identity is None:
            identity = secrets.token_hex(16).encode()
            for number, raw in transaction.cursor(self._events):
                [subject] = subject_keys([decode(_integer(number), raw)])
                if subject:
                    transaction.put(entry_of(subject, _integer(number)), b"", db=self._subjects)
            transaction.put(_IDENTITY, identity, db=self._meta)
        return str(identity, "ascii")

    def _last(self, transaction: Transaction) -> int:
        cursor: Any = transaction.cursor(self._events)
        newest = cursor.key() if cursor.last() else b""
        return _integer(max(newest, transaction.get(_ERASED_UP_TO, b"", db=self._meta)))

    def _forget(self, transaction: Transaction, subjects: list[str], after: int) -> tuple[int, list[str], int]:
        """Erases events of `subjects`, of the first one those with numbers above `after`, up to a batch of them.

        Returns how many, the subjects still to be looked at, and where to go on.
        """
        transaction.put(_ERASED_UP_TO, _NUMBER.pack(self._last(transaction)), db=self._meta)
        erased = looked_at = 0
        for place, subject in enumerate(subjects):
            room = _FORGET_BATCH - looked_at
            numbers = list(islice(numbers_of(transaction.cursor(self._subjects), subject, after), room))
            erased += sum(self._erase(transaction, number, subject) for number in numbers)
            if len(numbers) == room:
                return erased, subjects[place:], numbers[-1]
            looked_at, after = looked_at + len(numbers), 0
        return erased, [], 0

    def _erase(self, transaction: Transaction, number: int, subject: str) -> bool:
        """Erases an event indexed for the subject, unless it is of another subject with the same key."""
        key = _NUMBER.pack(number)
        event = decode(number, transaction.get(key, db=self._events))
        if subject_of_event(event) != subject:
            return False
        [subject_key] = subject_keys([event])
        assert subject_key is not None
        transaction.put(identity_of(event), b"", db=self._erased_ids)
        transaction.delete(key, db=self._events)
        transaction.delete(entry_of(subject_key, number), db=self._subjects)
        return True

    def _ids_of(self, transaction: Transaction, after: int) -> Iterator[tuple[int, bytes]]:
        """Numbers above `after` and the digests of their ids, in order."""
        cursor = transaction.cursor(self._events)
        rows = cursor.iternext() if cursor.set_range(_NUMBER.pack(after + 1)) else ()
        return ((_integer(key), identity_of(decode(_integer(key), raw))) for key, raw in rows)

    def _read_ids(self, after: int) -> Iterator[tuple[int, bytes]]:
        return ((number, identity_of(event)) for number, event in self._scan(after))

    def _read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        def read(transaction: Transaction) -> list[tuple[int, bytes]]:
            cursor = transaction.cursor(self._events)
            if not cursor.set_range(_NUMBER.pack(max(after, 0) + 1)):
                return []
            return [(_integer(key), raw) for key, raw in islice(cursor.iternext(), max(limit, 0))]

        return self._environment().read(read)

    def _scan(self, after: int) -> Iterator[tuple[int, Event]]:
        while rows := self._read(after, _SCAN_BATCH):
            for number, raw in rows:
                yield number, decode(number, raw)
            after = rows[-1][0]


def _integer(number: bytes) -> int:
    return int.from_bytes(number, "big")
