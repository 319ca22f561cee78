"""The dead-letter queue: refused bytes, kept for a second try, bounded by size and age; knows nothing of contracts."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from upnext.clock import Clock
from upnext.errors import StoreError
from upnext.ingest.dead_letters_change import NUMBER, Change, Databases, read_totals
from upnext.ingest.dead_letters_mentions import Mentions
from upnext.ingest.dead_letters_record import DeadLetter, Kind, Selection, Totals, decode
from upnext.settings import DeadLetterSettings
from upnext.store.lmdb_environment import MIB, LmdbEnvironment, Transaction, open_environment, release_environment

T = TypeVar("T")

_QUEUE_ID = b"id"
_BATCH = 500  # most letters, and …
_BATCH_BYTES = MIB  # … about how many bytes are read under one snapshot
_TRIM_BATCH = 2_000


class DeadLetters:
    """The queue in the folder `path`, shared by the threads and processes of one machine.

    Every change is one transaction and on the disk when its call returns. Past `settings.max_bytes` the oldest
    letters are dropped, past `settings.max_age_ms` too, both counted; an append pays for about as many drops as it
    puts in, and opening the queue or calling `trim` for what is left. The folder may take two to three times the bytes.
    Every call raises `StoreError` on a closed or damaged folder or a full disk.
    """

    def __init__(
        self, path: Path, settings: DeadLetterSettings, clock: Clock, *, map_size_bytes: int = 256 * MIB
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._open: LmdbEnvironment | None = open_environment(path, durable=True, map_size_bytes=map_size_bytes)
        self._databases = Databases(
            letters=self._open.database(b"letters"),
            moments=self._open.database(b"moments", duplicates=True),
            meta=self._open.database(b"meta"),
        )
        self._id = self._known_id()
        self.trim()

    @property
    def id(self) -> str:
        """16 random hexadecimal digits, made with the queue: with a letter's number they name it for all time."""
        return self._id

    def append(self, letters: Sequence[DeadLetter]) -> list[int | None]:
        """Keeps `letters`, all or none, and returns each one's number: from 1 up, increasing, never given out twice.

        Not kept, only counted, and None here: letters without bytes (withheld: a record without consent leaves no
        trace) and letters larger than the whole queue may be (dropped by size). Append in groups: each call flushes
        the disk once.
        """

        def append(change: Change) -> list[int | None]:
            numbers = [change.put_new(letter, self._settings.max_bytes) for letter in letters]
            self._make_room(change, limit=_BATCH + 2 * len(letters))
            return numbers

        return self._write(append) if letters else []

    def page(
        self,
        after: int = 0,
        limit: int = 100,
        reason: str | None = None,
        producer: str | None = None,
        kind: Kind | None = None,
    ) -> list[DeadLetter]:
        """Up to `limit` letters with numbers above `after` that have this reason, producer and kind, oldest first."""
        wanted = Selection(reason=reason, producer=producer, kind=kind, after=after)
        return list(islice(self.select(wanted), limit))

    def select(self, selection: Selection) -> Iterator[DeadLetter]:
        """The letters chosen, `after_upgrade` aside, in order; batch by batch, so no snapshot is held between."""
        if selection.numbers is not None:
            found = (self.get(number) for number in sorted(set(selection.numbers)))
            return (letter for letter in found if letter is not None and selection.agrees(letter))
        return (letter for batch in self._batches(selection.after) for letter in batch if selection.agrees(letter))

    def get(self, number: int) -> DeadLetter | None:
        """The letter of that number; None when it was never given out or the letter is gone."""
        if not 0 < number < 2**63:
            return None
        stored = self._environment().read(lambda txn: txn.get(NUMBER.pack(number)), self._databases.letters)
        return None if stored is None else decode(number, stored)

    def remove(self, numbers: Sequence[int]) -> int:
        """Takes letters out for good and returns how many were there."""

        def remove(change: Change) -> int:
            count = sum(change.take(number) is not None for number in numbers)
            change.totals.removed += count
            return count

        return self._write(remove) if numbers else 0

    def settle(self, outcomes: Mapping[int, Sequence[DeadLetter]]) -> int:
        """What became of letters that were tried again: in the place of each come the letters that are left of it.

        None left: it is gone, replayed. One left with its own number: it stays, as that letter says now. Letters
        left without a number are put in anew, and the old one is gone. A letter that has been removed, forgotten or
        settled meanwhile stays away, whatever is said here. Returns how many are gone by this call.
        """

        def settle(change: Change) -> int:
            gone = 0
            for number, left in outcomes.items():
                if change.take(number) is None:
                    continue
                gone += all(letter.number != number for letter in left)
                for letter in left:
                    if letter.number == number:
                        change.put(letter)
                    else:
                        change.put_new(letter, self._settings.max_bytes)
            change.totals.replayed += gone
            self._make_room(change, limit=_BATCH)
            return gone

        return self._write(settle) if outcomes else 0

    def totals(self) -> Totals:
        """The counts, kept with every change: one small read."""
        return self._environment().read(lambda txn: read_totals(txn, self._databases))

    def mentioning(self, ids: Sequence[str]) -> list[DeadLetter]:
        """The letters whose bytes name one of `ids` as a whole value; see `Mentions`. Reads the whole queue."""
        mentions = Mentions(ids)
        return [letter for batch in self._batches(0) for letter in batch if mentions.found_in(letter.raw)]

    def forget(self, ids: Sequence[str]) -> int:
        """Removes every letter that names one of `ids`, those put in meanwhile included, and returns how many."""
        mentions = Mentions(ids)
        return sum(
            self.remove([letter.number for letter in batch if mentions.found_in(letter.raw)])
            for batch in self._batches(0)
        )

    def trim(self) -> int:
        """Drops all that is past size or age, in short transactions, and returns how many letters that were."""
        dropped = 0
        while self._environment().read(self._is_overfull):
            dropped += self._write(lambda change: self._make_room(change, limit=_TRIM_BATCH, size_limit=_TRIM_BATCH))
        return dropped

    def close(self) -> None:
        """Releases what is held; closing twice is fine."""
        environment, self._open = self._open, None
        if environment is not None:
            release_environment(environment)

    def _make_room(self, change: Change, *, limit: int, size_limit: int | None = None) -> int:
        dropped = change.drop_older(self._oldest_ms(), limit)
        return dropped + change.drop_to(self._settings.max_bytes, size_limit)

    def _is_overfull(self, transaction: Transaction) -> bool:
        if read_totals(transaction, self._databases).waiting_bytes > self._settings.max_bytes:
            return True
        cursor: Any = transaction.cursor(self._databases.moments)
        return bool(cursor.first() and cursor.key() < NUMBER.pack(self._oldest_ms()))

    def _oldest_ms(self) -> int:
        """The earliest moment of receipt that is not too old."""
        return max(0, self._clock.now_ms() - self._settings.max_age_ms)

    def _known_id(self) -> str:
        """The queue's id; of several processes that make the queue at once, one decides."""
        meta = self._databases.meta
        found = self._environment().read(lambda txn: txn.get(_QUEUE_ID), meta)
        if found is None:
            mine = secrets.token_hex(8).encode()

            def make(transaction: Transaction) -> bytes:
                transaction.put(_QUEUE_ID, mine, overwrite=False)
                return bytes(transaction.get(_QUEUE_ID))

            found = self._environment().write(make, meta)
        return bytes(found).decode()

    def _batches(self, after: int) -> Iterator[list[DeadLetter]]:
        """All letters above `after`, in order, in lists that are short in letters and in bytes."""

        def read(transaction: Transaction) -> list[tuple[int, bytes]]:
            cursor: Any = transaction.cursor(self._databases.letters)
            rows: list[tuple[int, bytes]] = []
            size_bytes = 0
            found = cursor.set_range(NUMBER.pack(max(after, 0) + 1))
            while found and len(rows) < _BATCH and size_bytes < _BATCH_BYTES:
                key, stored = cursor.item()
                rows.append((int.from_bytes(key, "big"), stored))
                size_bytes += len(stored)
                found = cursor.next()
            return rows

        while rows := self._environment().read(read):
            yield [decode(number, stored) for number, stored in rows]
            after = rows[-1][0]

    def _write(self, work: Callable[[Change], T]) -> T:
        def write(transaction: Transaction) -> T:
            change = Change(transaction, self._databases)
            result = work(change)
            change.save()
            return result

        return self._environment().write(write)

    def _environment(self) -> LmdbEnvironment:
        if self._open is None:
            raise StoreError(f"the dead letters at {self._path} are closed; open them again")
        return self._open
