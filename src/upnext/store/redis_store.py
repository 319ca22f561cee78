"""The shared store: Redis or a Redis Cluster, for many machines; knows nothing of records or of connections."""

from collections.abc import Iterator, Sequence
from itertools import count

from upnext.clock import Clock, Deadline, SystemClock
from upnext.errors import StoreError, StoreTimeout
from upnext.store import redis_windows as windows
from upnext.store.expiry import STAYS, expiry_header, live_value
from upnext.store.interface import Change, Values
from upnext.store.limits import check_change, check_groups, check_keys, check_swap, check_value
from upnext.store.redis_links import Link, Request, pause
from upnext.store.redis_names import Names, Placed
from upnext.store.redis_requests import Call, accepted, read, run, send
from upnext.store.redis_scripts import DELETE, PUT_FOR_A_WHILE, SWAP

_IO_CLOCK = SystemClock()  # waiting on sockets takes real time, whatever clock judges expiry
_SCAN_KEYS = 1000
_SCAN_BYTES = 4 * 1024 * 1024
_SLACK_MS = 60_000  # how much longer than its span the server keeps a value: machines' clocks differ


class RedisStore:
    """`Store` behind a `Link`, to one server or a cluster. Nothing is connected before the first call.

    A read, a put, a deletion or a swap is one pipelined round trip; an `update` two, and more for groups that
    another writer changed in between. No call outlasts its deadline or `timeout_ms`, whichever is nearer, save that
    a call with more than 128 keys or a mebibyte is several, one after the other, each of which may take `timeout_ms`.

    Whether a value has expired is judged by `clock`, so machines should agree on the time; the server drops it a
    minute later. Nothing here waits for a disk: what a failing server loses is rebuilt from the event log.
    """

    def __init__(self, link: Link, clock: Clock | None = None, *, prefix: str, timeout_ms: float) -> None:
        self._link = link
        self._clock = clock or SystemClock()
        self._names = Names(prefix, link.slot_of)
        self._timeout_ms = timeout_ms
        self._closed = False

    def get_many(self, keys: Sequence[bytes], deadline: Deadline) -> Values:
        check_keys(keys)
        values: Values = [None] * len(keys)
        for ats in windows.of_keys(keys):
            bounded = self._bounded(deadline)
            raws = read(self._link, self._names.place(keys[at] for at in ats), bounded)
            for at, raw in zip(ats, raws, strict=True):
                values[at] = live_value(raw, self._clock)
        return values

    def put_many(self, items: Sequence[tuple[bytes, bytes]], deadline: Deadline, *, ttl_ms: int | None = None) -> None:
        keys, values = [key for key, _ in items], [value for _, value in items]
        check_keys(keys)
        for key, value in items:
            check_value(key, value)
        header = expiry_header(self._clock, ttl_ms)
        for ats in windows.of_keys(keys, values):
            bounded = self._bounded(deadline)
            of_slot: dict[int, list[tuple[bytes, bytes]]] = {}
            for at, (slot, name) in zip(ats, self._names.place(keys[at] for at in ats), strict=True):
                of_slot.setdefault(slot, []).append((name, header + values[at]))
            self._put(of_slot, ttl_ms, bounded)

    def delete_many(self, keys: Sequence[bytes], deadline: Deadline) -> int:
        check_keys(keys)
        deleted = 0
        for ats in windows.of_keys(keys):
            bounded = self._bounded(deadline)
            of_slot: dict[int, list[bytes]] = {}
            for slot, name in self._names.place(keys[at] for at in ats):
                of_slot.setdefault(slot, []).append(name)
            calls = [Call(slot, names, [self._clock.now_ms()]) for slot, names in of_slot.items()]
            deleted += sum(run(self._link, DELETE, calls, bounded))
        return deleted

    def update(self, groups: Sequence[Sequence[bytes]], change: Change, deadline: Deadline) -> None:
        """As promised by `Store`; `change` is called again for a group that another writer changed meanwhile.

        A group that `change` leaves as it is costs no write.
        """
        check_groups(groups)
        for some in windows.of_groups(groups):
            bounded = self._bounded(deadline)
            todo = list(range(len(groups)))[some]
            for turn in count():
                now, later = _without_shared_keys(groups, todo)
                lost = self._update_once(groups, now, change, bounded)
                todo = sorted(lost + later)
                if not todo:
                    break
                if lost:
                    pause(turn, bounded)

    def swap_many(
        self,
        groups: Sequence[Sequence[bytes]],
        expected: Sequence[Values],
        values: Sequence[Sequence[bytes | None]],
        deadline: Deadline,
    ) -> list[bool]:
        check_swap(groups, expected, values)
        swapped: list[bool] = []
        for some in windows.of_groups(groups, expected, values):
            bounded = self._bounded(deadline)
            placed = [self._names.place(keys) for keys in groups[some]]
            swapped += self._swap(placed, expected[some], values[some], bounded)
        return swapped

    def compare_and_set(self, key: bytes, expected: bytes | None, value: bytes | None, deadline: Deadline) -> bool:
        return self.swap_many([[key]], [[expected]], [[value]], deadline)[0]

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """As promised by `Store`, save that keys of slots that move between servers meanwhile may be missed.

        All keys with the prefix are gathered in memory first, then values are read some megabytes at a time.
        """
        self._own_bound()
        return self._scan(prefix)

    def close(self) -> None:
        self._closed = True
        self._link.close()

    def _bounded(self, deadline: Deadline) -> Deadline:
        """The nearer of `deadline` and this store's own timeout, from now, on an open store."""
        if self._closed:
            raise StoreError("the store in Redis is closed; open it again")
        left_ms = min(deadline.left_ms(), self._timeout_ms)
        if left_ms <= 0:
            raise StoreTimeout("the deadline passed before Redis was asked; allow more time")
        return Deadline.after(_IO_CLOCK, left_ms)

    def _own_bound(self) -> Deadline:
        return self._bounded(Deadline.never(_IO_CLOCK))

    def _put(self, of_slot: dict[int, list[tuple[bytes, bytes]]], ttl_ms: int | None, bounded: Deadline) -> None:
        """Sets names to raw values, those of one slot together."""
        if ttl_ms is None:
            requests: list[Request] = [
                (slot, (b"MSET", *(part for pair in pairs for part in pair))) for slot, pairs in of_slot.items()
            ]
            send(self._link, requests, bounded)
        else:
            calls = [
                Call(slot, [name for name, _ in pairs], [ttl_ms + _SLACK_MS, *(raw for _, raw in pairs)])
                for slot, pairs in of_slot.items()
            ]
            run(self._link, PUT_FOR_A_WHILE, calls, bounded)

    def _update_once(
        self, groups: Sequence[Sequence[bytes]], numbers: Sequence[int], change: Change, bounded: Deadline
    ) -> list[int]:
        """Reads, changes and swaps the groups of these numbers; the numbers of those that another writer changed."""
        placed = [self._names.place(groups[number]) for number in numbers]
        raws = iter(read(self._link, [place for group in placed for place in group], bounded))
        changed: list[int] = []  # places in `numbers`
        olds: list[Values] = []
        news: list[Values] = []
        for at, number in enumerate(numbers):
            raw = [next(raws) for _ in placed[at]]
            old = [live_value(value, self._clock) for value in raw]
            new = list(change(number, list(old)))
            check_change(len(old), len(new))
            for key, value in zip(groups[number], new, strict=True):
                check_value(key, value or b"")
            if raw != [None if value is None else STAYS + value for value in new]:
                changed.append(at)
                olds.append(old)
                news.append(new)
        swapped = self._swap([placed[at] for at in changed], olds, news, bounded)
        return [numbers[at] for at, done in zip(changed, swapped, strict=True) if not done]

    def _swap(
        self,
        placed: Sequence[Sequence[Placed]],
        expected: Sequence[Values],
        values: Sequence[Sequence[bytes | None]],
        bounded: Deadline,
    ) -> list[bool]:
        now_ms = self._clock.now_ms()
        calls = []
        for group, olds, news in zip(placed, expected, values, strict=True):
            arguments: list[bytes | int] = [now_ms]
            for old, new in zip(olds, news, strict=True):
                arguments += [b"" if old is None else STAYS + old, b"" if new is None else STAYS + new]
            if group:
                calls.append(Call(group[0].slot, [name for _, name in group], arguments))
        done = iter(run(self._link, SWAP, calls, bounded))
        return [next(done) == 1 if group else True for group in placed]

    def _scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        keys = sorted(self._keys(prefix))
        for start in range(0, len(keys), _SCAN_KEYS):
            some = keys[start : start + _SCAN_KEYS]
            placed = self._names.place(some)
            sizes = send(self._link, [(slot, (b"STRLEN", name)) for slot, name in placed], self._own_bound())
            for first, last in _pieces(sizes):
                raws = read(self._link, placed[first:last], self._own_bound())
                for key, raw in zip(some[first:last], raws, strict=True):
                    value = live_value(raw, self._clock)
                    if value is not None:
                        yield key, value

    def _keys(self, prefix: bytes) -> set[bytes]:
        pattern = self._names.pattern(prefix)
        keys: set[bytes] = set()
        for server in self._link.servers(self._own_bound()):
            cursor = b"0"
            while True:
                command = (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCAN_KEYS)
                cursor, names = accepted(self._link.ask(server, command, self._own_bound()))
                keys.update(map(self._names.key_of, names))
                if cursor == b"0":
                    break
        return keys


def _without_shared_keys(groups: Sequence[Sequence[bytes]], numbers: Sequence[int]) -> tuple[list[int], list[int]]:
    """The groups to change now, and those that must wait for an earlier one with a key in common."""
    now: list[int] = []
    later: list[int] = []
    taken: set[bytes] = set()
    for number in numbers:
        (now if taken.isdisjoint(groups[number]) else later).append(number)
        taken.update(groups[number])
    return now, later


def _pieces(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where to read at once, so that it is one value or at most some megabytes."""
    first = 0
    total = 0
    for at, size in enumerate(sizes):
        if at > first and total + size > _SCAN_BYTES:
            yield first, at
            first, total = at, 0
        total += size
    yield first, len(sizes)
