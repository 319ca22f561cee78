"""The promise every store keeps: bytes by key, batched, atomic per group of keys; knows nothing of records."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from upnext.clock import Deadline

Values = list[bytes | None]
# Given a group's number and the values now under its keys (None: absent), the values to put there (None deletes).
Change = Callable[[int, Values], Sequence[bytes | None]]


class Store(Protocol):
    """Bytes by key, safe to call from many threads and many processes.

    Keys are 1 to 511 bytes; values at most 16 MiB. A call that cannot be kept raises `StoreError`; one that
    would outlast its deadline raises `StoreTimeout` and has no effect.
    """

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        """Values in the order of `keys`, None where absent or expired, all read at one moment."""

    def put_many(self, items: Sequence[tuple[bytes, bytes]], deadline: Deadline, *, ttl_ms: int | None = None) -> None:
        """Sets all of `items` or, on an error, none; with `ttl_ms` they are absent once that has passed."""

    def delete_many(self, keys: Sequence[bytes], deadline: Deadline) -> int:
        """Deletes; how many had been there."""

    def update(self, groups: Sequence[Sequence[bytes]], change: Change, deadline: Deadline) -> None:
        """For each group of keys, replaces the values by what `change` makes of them.

        Atomic per group: no other writer's change to its keys is lost or seen half done. `change` must be free of
        side effects, since a store may call it again when another writer was faster. If it raises, nothing of that
        group is written and the error passes through.
        """

    def compare_and_set(self, key: bytes, expected: bytes | None, value: bytes | None, deadline: Deadline) -> bool:
        """Sets (or with None deletes) only if the value now there is `expected` (None: absent); whether it did."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every live key that starts with `prefix`, in byte order, with its value.

        Keys written or deleted while it runs may or may not be seen; all others are seen exactly once.
        """

    def close(self) -> None:
        """Releases what is held; further calls raise `StoreError`. Closing twice is fine."""
