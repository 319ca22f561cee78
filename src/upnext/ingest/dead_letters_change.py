"""One transaction on the dead-letter queue, its counts kept in step; knows nothing of bounds in force or of time."""

import struct
from dataclasses import dataclass
from typing import Any

import msgspec

from upnext.ingest.dead_letters_record import DeadLetter, Totals, decode, encode
from upnext.store.lmdb_environment import Database, Transaction

NUMBER = struct.Struct(">Q")  # big-endian, so that byte order is the order of numbers
_TOTALS = b"totals"
_LATEST_MS = 2**63 - 1
_encode_totals = msgspec.msgpack.Encoder().encode
_decode_totals = msgspec.msgpack.Decoder(Totals).decode


@dataclass(frozen=True, slots=True)
class Databases:
    """Where the parts of the queue are."""

    letters: Database  # number -> letter
    moments: Database  # moment of receipt -> numbers; several clocks wrote them, so numbers alone do not tell the age
    meta: Database  # totals and the queue's id


def read_totals(transaction: Transaction, databases: Databases) -> Totals:
    """The counts as of the transaction."""
    stored = transaction.get(_TOTALS, db=databases.meta)
    return Totals() if stored is None else _decode_totals(stored)


class Change:
    """Puts, takes and drops letters inside a write transaction; `save` ends it."""

    def __init__(self, transaction: Transaction, databases: Databases) -> None:
        self._transaction = transaction
        self._databases = databases
        self.totals = read_totals(transaction, databases)

    def save(self) -> None:
        """Writes the counts; after that the transaction may be committed."""
        self._transaction.put(_TOTALS, _encode_totals(self.totals), db=self._databases.meta)

    def put_new(self, letter: DeadLetter, max_bytes: int) -> int | None:
        """Puts a letter in under the next number; one without bytes or above `max_bytes` is only counted: None."""
        if not letter.raw:
            self.totals.withheld += 1
            return None
        numbered = msgspec.structs.replace(letter, number=self.totals.last + 1)
        stored = encode(numbered)
        if len(stored) > max_bytes:
            self.totals.dropped_by_size += 1
            return None
        self.totals.last = numbered.number
        self._put(numbered, stored)
        return numbered.number

    def put(self, letter: DeadLetter) -> None:
        """Puts a letter in under the number it has, which must be free."""
        self._put(letter, encode(letter))

    def take(self, number: int) -> DeadLetter | None:
        """Takes the letter out; None when there is none."""
        stored = self._transaction.pop(NUMBER.pack(number), db=self._databases.letters)
        if stored is None:
            return None
        letter = decode(number, stored)
        self._transaction.delete(_moment(letter), NUMBER.pack(number), db=self._databases.moments)
        self._count(letter, -1, -len(stored))
        return letter

    def drop_older(self, oldest_ms: int, limit: int) -> int:
        """Drops up to `limit` letters received before `oldest_ms`, the oldest first; how many."""
        cursor: Any = self._transaction.cursor(self._databases.moments)
        before, dropped = NUMBER.pack(oldest_ms), 0
        while dropped < limit and cursor.first() and cursor.key() < before:
            self.take(int.from_bytes(cursor.value(), "big"))
            dropped += 1
        self.totals.dropped_by_age += dropped
        return dropped

    def drop_to(self, max_bytes: int, limit: int | None) -> int:
        """Drops letters, the lowest numbers first, up to `limit` of them, until `max_bytes` hold the rest; how many."""
        cursor: Any = self._transaction.cursor(self._databases.letters)
        dropped = 0
        while self.totals.waiting_bytes > max_bytes and dropped != limit and cursor.first():
            self.take(int.from_bytes(cursor.key(), "big"))
            dropped += 1
        self.totals.dropped_by_size += dropped
        return dropped

    def _put(self, letter: DeadLetter, stored: bytes) -> None:
        key = NUMBER.pack(letter.number)
        self._transaction.put(key, stored, db=self._databases.letters)
        self._transaction.put(_moment(letter), key, db=self._databases.moments)
        self._count(letter, 1, len(stored))

    def _count(self, letter: DeadLetter, letters: int, size_bytes: int) -> None:
        totals = self.totals
        totals.waiting += letters
        totals.waiting_bytes += size_bytes
        totals.by_reason[letter.reason] = totals.by_reason.get(letter.reason, 0) + letters
        if not totals.by_reason[letter.reason]:
            del totals.by_reason[letter.reason]


def _moment(letter: DeadLetter) -> bytes:
    return NUMBER.pack(min(max(letter.received_ms, 0), _LATEST_MS))
