"""The embedded store: LMDB, shared by the processes of one machine; knows nothing of records."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from upnext.clock import Clock, Deadline, SystemClock
from upnext.errors import StoreError, StoreTimeout
from upnext.store.expiry import HEADER_BYTES, STAYS, expiry_header, live_value, moment_header
from upnext.store.interface import Change, Values
from upnext.store.limits import check_change, check_groups, check_keys, check_swap, check_value
from upnext.store.lmdb_environment import MIB, LmdbEnvironment, Transaction, open_environment, release_environment

_SCAN_BATCH = 1000
_SCAN_BATCH_BYTES = 4 * MIB
_SWEEP = 8


class LmdbStore:
    """`Store` in the folder `path`. Opening the folder again in one process shares what is open.

    Without `durable` a commit survives a killed process but not a power cut, after which the folder should be
    deleted and rebuilt from the event log. A deadline bounds the wait for this process's other writers and is
    checked before a commit; reads wait for nobody.

    Expired values read as absent at once. Each write drops a few that have expired, the oldest first, so that
    keys nobody asks for again do not pile up.
    """

    def __init__(
        self, path: Path, clock: Clock | None = None, *, durable: bool = False, map_size_bytes: int = 1024 * MIB
    ) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._open: LmdbEnvironment | None = open_environment(path, durable=durable, map_size_bytes=map_size_bytes)
        self._values = self._open.database(b"values")
        self._expiries = self._open.database(b"expiries", duplicates=True)  # when -> keys put with that expiry

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        check_keys(keys)
        if deadline.passed():
            raise StoreTimeout(f"the deadline passed before reading {len(keys)} keys of {self._path}; allow more time")

        def read(transaction: Transaction) -> list[bytes | None]:
            get = transaction.get
            return [get(key) for key in keys]

        return [live_value(raw, self._clock) for raw in self._environment().read(read, self._values)]

    def put_many(self, items: Sequence[tuple[bytes, bytes]], deadline: Deadline, *, ttl_ms: int | None = None) -> None:
        check_keys(key for key, _ in items)
        for key, value in items:
            check_value(key, value)
        header = expiry_header(self._clock, ttl_ms)

        def put(transaction: Transaction) -> None:
            self._sweep(transaction, limit=_SWEEP + 2 * len(items))
            for key, value in items:
                transaction.put(key, header + value)
                if header != STAYS:
                    transaction.put(header, key, db=self._expiries)

        self._write(put, deadline)

    def delete_many(self, keys: Sequence[bytes], deadline: Deadline) -> int:
        check_keys(keys)

        def delete(transaction: Transaction) -> int:
            raws = (transaction.pop(key) for key in keys)
            return sum(live_value(raw, self._clock) is not None for raw in raws)

        return int(self._write(delete, deadline))

    def update(self, groups: Sequence[Sequence[bytes]], change: Change, deadline: Deadline) -> None:
        """As promised by `Store`; all groups are one transaction, so when `change` raises none of them is written."""
        check_groups(groups)

        def update(transaction: Transaction) -> None:
            self._sweep(transaction, limit=_SWEEP)
            for number, keys in enumerate(groups):
                values = change(number, [self._now_under(transaction, key) for key in keys])
                check_change(len(keys), len(values))
                for key, value in zip(keys, values, strict=True):
                    self._set(transaction, key, value)

        self._write(update, deadline)

    def swap_many(
        self,
        groups: Sequence[Sequence[bytes]],
        expected: Sequence[Values],
        values: Sequence[Sequence[bytes | None]],
        deadline: Deadline,
    ) -> list[bool]:
        """As promised by `Store`; all groups are one transaction."""
        check_swap(groups, expected, values)

        def swap(transaction: Transaction) -> list[bool]:
            self._sweep(transaction, limit=_SWEEP)
            return [self._swap(transaction, *group) for group in zip(groups, expected, values, strict=True)]

        swapped: list[bool] = self._write(swap, deadline)
        return swapped

    def compare_and_set(self, key: bytes, expected: bytes | None, value: bytes | None, deadline: Deadline) -> bool:
        return self.swap_many([[key]], [[expected]], [[value]], deadline)[0]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """As promised by `Store`; reads batch by batch, so no snapshot is held while the caller works."""
        self._environment()
        return self._scan(prefix)

    def close(self) -> None:
        environment, self._open = self._open, None
        if environment is not None:
            release_environment(environment)

    def _environment(self) -> LmdbEnvironment:
        if self._open is None:
            raise StoreError(f"the store at {self._path} is closed; open it again")
        return self._open

    def _write(self, work: Any, deadline: Deadline) -> Any:
        return self._environment().write(work, self._values, deadline)

    def _now_under(self, transaction: Transaction, key: bytes) -> bytes | None:
        return live_value(transaction.get(key), self._clock)

    def _swap(
        self, transaction: Transaction, keys: Sequence[bytes], expected: Values, values: Sequence[bytes | None]
    ) -> bool:
        if [self._now_under(transaction, key) for key in keys] != list(expected):
            return False
        for key, value in zip(keys, values, strict=True):
            self._set(transaction, key, value)
        return True

    def _set(self, transaction: Transaction, key: bytes, value: bytes | None) -> None:
        if value is None:
            transaction.delete(key)
        else:
            check_value(key, value)
            transaction.put(key, STAYS + value)

    def _sweep(self, transaction: Transaction, limit: int) -> None:
        """Deletes up to `limit` expired values; an entry whose value was put again since is only forgotten."""
        now = moment_header(self._clock.now_ms())
        cursor = transaction.cursor(self._expiries)
        while limit and cursor.first() and cursor.key() <= now:
            header, key = cursor.item()
            raw = transaction.get(key)
            if raw is not None and raw[:HEADER_BYTES] == header:
                transaction.delete(key)
            cursor.delete()
            limit -= 1

    def _scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        last = b""
        while True:
            work = partial(self._scan_batch, prefix=prefix, last=last)
            batch, complete = self._environment().read(work, self._values)
            for key, raw in batch:
                value = live_value(raw, self._clock)
                if value is not None:
                    yield key, value
            if complete:
                return
            last = batch[-1][0]

    def _scan_batch(
        self, transaction: Transaction, prefix: bytes, last: bytes
    ) -> tuple[list[tuple[bytes, bytes]], bool]:
        """The next entries after `last` in order, and whether they reach the prefix's end."""
        batch: list[tuple[bytes, bytes]] = []
        size_bytes = 0
        cursor = transaction.cursor()
        start = last or prefix
        found = cursor.set_range(start) if start else cursor.first()
        if found and cursor.key() == last:
            found = cursor.next()
        while found and cursor.key().startswith(prefix):
            if len(batch) >= _SCAN_BATCH or size_bytes >= _SCAN_BATCH_BYTES:
                return batch, False
            batch.append(cursor.item())
            size_bytes += len(batch[-1][1])
            found = cursor.next()
        return batch, True
