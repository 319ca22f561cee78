"""The promise every store keeps: bytes by key, batched, atomic per group of keys; knows nothing of records."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from upnext.clock import Deadline

Values = list[bytes | None]
# Given a group's number and the values now under its keys (None: absent), the values to put there (None deletes).
Change = Callable[[int, Values], Sequence[bytes | None]]


class Store(Protocol):
    """Bytes by key, safe to call from many threads and many processes.

    Keys are 1 to 511 bytes; values at most 16 MiB. What follows the last slash of a key (all of it, without a
    slash) is its *tag*: keys of one tag are kept on one server, so what is promised of several keys at once is
    promised of keys of one tag. Keys that must change together, such as all of one user, end alike.

    A call that cannot be kept raises `StoreError`; one that would outlast its deadline raises `StoreTimeout` and has
    no effect, save that a store on another machine, when its answer does not come in time, may have made changes or
    may make them a moment later, each group or tag whole.
    """

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        """Values in the order of `keys`, None where absent or expired; all of one tag read at one moment."""

    def put_many(self, items: Sequence[tuple[bytes, bytes]], deadline: Deadline, *, ttl_ms: int | None = None) -> None:
        """Sets the values of each tag together, all of them or on an error none; of one key twice the last stays.

        With `ttl_ms` they are absent once that has passed; any later write to a key forgets its span.
        """

    def delete_many(self, keys: Sequence[bytes], deadline: Deadline) -> int:
        """Deletes, all of one tag together; how many had been there."""

    def update(self, groups: Sequence[Sequence[bytes]], change: Change, deadline: Deadline) -> None:
        """For each group of keys of one tag, replaces the values by what `change` makes of them; they stay for good.

        Atomic per group: no other writer's change to its keys is lost or seen half done; groups that share a key
        are changed in their order. `change` must be free of side effects, since a store may call it again when
        another writer was faster. If it raises, nothing of that group is written and the error passes through;
        whether groups before it were written is open, as it is after a `StoreTimeout`.
        """

    def swap_many(
        self,
        groups: Sequence[Sequence[bytes]],
        expected: Sequence[Values],
        values: Sequence[Sequence[bytes | None]],
        deadline: Deadline,
    ) -> list[bool]:
        """Per group of keys of one tag: sets them to `values` if and only if they all hold `expected`; whether it did.

        None stands for absent: expected, the key must be; as a value, it is deleted. What is set stays for good.
        Atomic per group, and groups that share a key are tried in their order.
        """

    def compare_and_set(self, key: bytes, expected: bytes | None, value: bytes | None, deadline: Deadline) -> bool:
        """Sets (or with None deletes) only if the value now there is `expected` (None: absent); whether it did."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every live key that starts with `prefix`, in byte order, with its value.

        Keys written or deleted while it runs may or may not be seen; all others are seen exactly once. A store on
        another machine bounds each of its reads by its own timeout, not the whole.
        """

    def close(self) -> None:
        """Releases what is held; further calls raise `StoreError`. Closing twice is fine."""
