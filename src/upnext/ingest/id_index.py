"""The ids of a log's events, by which it tells copies: a second LMDB folder, never flushed; knows only digests.

Ids are random, so every event changes a page of its own; flushing them at each append would take several times as
long as all the rest. Not flushed, they survive a killed process, since the system keeps what was written, but not a
power failure. That costs nothing but time, for the log has all it takes to make them again:

- Ids are added only after the log has committed their events, so the index may lag behind the log, never be ahead.
- Whoever is to append first takes in what the index lacks, under the log's write lock.
- The folder is named after the start of the system (its boot id). After another start, or on another machine, it is
  not looked at but made anew; so is an index of another log, or of another course of this one.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from upnext.store.lmdb_environment import MIB, Transaction, open_environment, release_environment

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE = b"state"
_CHUNK = 200_000

# Numbers above the given one and the digests of their events' ids, in order.
Rows = Callable[[int], Iterator[tuple[int, bytes]]]


class _State(NamedTuple):
    """The newest event taken in."""

    number: int
    digest: bytes
    log: bytes  # identity

    @classmethod
    def unpack(cls, raw: bytes) -> "_State":
        return cls(int.from_bytes(raw[:8], "big"), raw[8:24], raw[24:])

    def pack(self) -> bytes:
        return self.number.to_bytes(8, "big") + self.digest + self.log


class IdIndex:
    """Digests (16 bytes) of ids under the log's `folder`, for all processes of this start of the system."""

    def __init__(self, folder: Path, log: str, last: Callable[[], int], rows: Rows) -> None:
        """Opens the index of the log named `log`, whose newest number is `last()`, and takes in what it lacks."""
        boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.is_file() else ""
        path = folder / f"ids-{boot_id or 'flushed'}"
        for other in folder.glob("ids-*"):
            if other != path:
                shutil.rmtree(other, ignore_errors=True)
        self._log = log.encode()
        # Where the start of the system has no name, the index is flushed as the log is.
        self._environment = open_environment(path, durable=not boot_id, map_size_bytes=256 * MIB)
        self._ids = self._environment.database(b"ids")
        self._meta = self._environment.database(b"meta")
        state = self._environment.read(self._state)
        if state.log != self._log or not _same_course(state, last(), rows):
            self._environment.write(self._clear)
        self._take_in(rows)

    def known(self, digests: Sequence[bytes], last: int, rows: Rows) -> set[bytes]:
        """Which of `digests` are of events of the log, whose newest number is `last`; call under its write lock."""

        def read(transaction: Transaction) -> tuple[int, set[bytes]]:
            found = transaction.cursor(self._ids).getmulti(digests)
            return self._state(transaction).number, {digest for digest, _ in found}

        number, known = self._environment.read(read)
        if number < last:
            self._take_in(rows)
            known = self._environment.read(read)[1]
        return known

    def add(self, before: int, last: int, digests: Sequence[bytes]) -> None:
        """Adds the digests of events `before` + 1 … `last`, in order, which the log has committed.

        Unless the index is not at `before`: then whoever appends next takes them in.
        """

        def add(transaction: Transaction) -> None:
            if self._state(transaction).number == before:
                transaction.cursor(self._ids).putmulti([(digest, b"") for digest in sorted(digests)])
                transaction.put(_STATE, _State(last, digests[-1], self._log).pack(), db=self._meta)

        if digests:
            self._environment.write(add)

    def close(self) -> None:
        release_environment(self._environment)

    def _take_in(self, rows: Rows) -> None:
        # The log is read outside of this index's transactions: who holds the log's lock may be waiting for them.
        number = self._environment.read(self._state).number
        while chunk := list(islice(rows(number), _CHUNK)):
            self.add(number, chunk[-1][0], [digest for _, digest in chunk])
            number = self._environment.read(self._state).number

    def _state(self, transaction: Transaction) -> _State:
        return _State.unpack(transaction.get(_STATE, _State(0, bytes(16), self._log).pack(), db=self._meta))

    def _clear(self, transaction: Transaction) -> None:
        transaction.drop(self._ids, delete=False)
        transaction.delete(_STATE, db=self._meta)


def _same_course(state: _State, last: int, rows: Rows) -> bool:
    """Whether the newest event taken in is the log's, or erased: not so where an older copy of the log was put back."""
    found = next(rows(max(state.number - 1, 0)), None)
    return state.number <= last and (found is None or found[0] != state.number or found[1] == state.digest)
