"""The reference store: a dictionary behind one lock, for tests and single processes; nothing outlives it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from upnext.clock import Clock, Deadline, SystemClock
from upnext.errors import StoreError, StoreTimeout
from upnext.store.interface import Change, Values
from upnext.store.limits import check_change, check_groups, check_keys, check_swap, check_value, expiry_ms

_SCAN_BATCH = 1000


class MemoryStore:
    """`Store` in this process's memory. Expired values are dropped when their key is next touched."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._closed = False
        self._values: dict[bytes, tuple[bytes, int | None]] = {}  # value, and from when on it is absent

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        check_keys(keys)
        with self._held(deadline):
            return [self._get(key) for key in keys]

    def put_many(self, items: Sequence[tuple[bytes, bytes]], deadline: Deadline, *, ttl_ms: int | None = None) -> None:
        check_keys(key for key, _ in items)
        for key, value in items:
            check_value(key, value)
        until_ms = None if ttl_ms is None else expiry_ms(self._clock.now_ms(), ttl_ms)
        with self._held(deadline):
            for key, value in items:
                self._values[key] = (value, until_ms)

    def delete_many(self, keys: Sequence[bytes], deadline: Deadline) -> int:
        check_keys(keys)
        with self._held(deadline):
            there = 0
            for key in keys:
                there += self._get(key) is not None
                self._set(key, None)
            return there

    def update(self, groups: Sequence[Sequence[bytes]], change: Change, deadline: Deadline) -> None:
        check_groups(groups)
        with self._held(deadline):
            before = {key: self._values.get(key) for keys in groups for key in keys}
            try:
                for number, keys in enumerate(groups):
                    values = change(number, [self._get(key) for key in keys])
                    check_change(len(keys), len(values))
                    for key, value in zip(keys, values, strict=True):
                        self._set(key, value)
            except BaseException:
                self._restore(before)
                raise

    def swap_many(
        self,
        groups: Sequence[Sequence[bytes]],
        expected: Sequence[Values],
        values: Sequence[Sequence[bytes | None]],
        deadline: Deadline,
    ) -> list[bool]:
        check_swap(groups, expected, values)
        with self._held(deadline):
            return [self._swap(*group) for group in zip(groups, expected, values, strict=True)]

    def compare_and_set(self, key: bytes, expected: bytes | None, value: bytes | None, deadline: Deadline) -> bool:
        return self.swap_many([[key]], [[expected]], [[value]], deadline)[0]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._held():
            keys = sorted(key for key in self._values if key.startswith(prefix))
        return self._values_of(keys)

    def close(self) -> None:
        self._closed = True

    def _values_of(self, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for start in range(0, len(keys), _SCAN_BATCH):
            with self._held():
                found = [(key, self._get(key)) for key in keys[start : start + _SCAN_BATCH]]
            yield from ((key, value) for key, value in found if value is not None)

    def _get(self, key: bytes) -> bytes | None:
        value, until_ms = self._values.get(key, (None, None))
        if until_ms is not None and self._clock.now_ms() >= until_ms:
            del self._values[key]
            return None
        return value

    def _set(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._values.pop(key, None)
        else:
            check_value(key, value)
            self._values[key] = (value, None)

    def _swap(self, keys: Sequence[bytes], expected: Values, values: Sequence[bytes | None]) -> bool:
        if [self._get(key) for key in keys] != list(expected):
            return False
        for key, value in zip(keys, values, strict=True):
            self._set(key, value)
        return True

    def _restore(self, before: dict[bytes, tuple[bytes, int | None] | None]) -> None:
        for key, entry in before.items():
            if entry is None:
                self._values.pop(key, None)
            else:
                self._values[key] = entry

    @contextmanager
    def _held(self, deadline: Deadline | None = None) -> Iterator[None]:
        """The lock, got before the deadline, on a store that is open."""
        left_s = -1.0 if deadline is None else min(deadline.left_ms() / 1e3, threading.TIMEOUT_MAX)
        if (deadline is not None and deadline.passed()) or not self._lock.acquire(timeout=left_s):
            raise StoreTimeout("the memory store was busy past the deadline; try again or allow more time")
        try:
            if self._closed:
                raise StoreError("the memory store is closed; open another")
            yield
        finally:
            self._lock.release()
