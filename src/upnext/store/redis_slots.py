"""Who owns which slot of a Redis Cluster, as far as its servers say; sends nothing itself."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from upnext.clock import Deadline, SystemClock
from upnext.errors import StoreError, StoreTimeout
from upnext.store.redis_addresses import Address

_CLOCK = SystemClock()
Ask = Callable[[Address, Deadline], Any]  # the reply of a server to CLUSTER SLOTS, or its refusal, an exception


class SlotMap:
    """The owners of all slots, asked for when first needed and again once in doubt. Safe to use from many threads."""

    def __init__(self, seeds: Sequence[Address], ask: Ask) -> None:
        self._seeds = tuple(seeds)
        self._ask = ask
        self._sources = self._seeds  # whom to ask, the next one first
        self._owners: list[Address | None] = []
        self._doubted = True
        self._learning = threading.Lock()

    def learn(self, deadline: Deadline) -> bool:
        """Asks for the owners if they are in doubt; whether it did. Raises `StoreTimeout` or `StoreError`."""
        if not self._doubted:
            return False
        if not self._learning.acquire(timeout=max(deadline.left_ms(), 0.0) / 1e3):
            raise StoreTimeout("the owners of the Redis Cluster's slots did not become known in time; try again")
        try:
            if self._doubted:
                self._ask_in_turn(deadline)
            return True
        finally:
            self._learning.release()

    def doubt(self) -> None:
        """Something failed: who owns what is asked anew before the next call."""
        self._doubted = True

    def owner(self, slot: int) -> Address:
        """Raises `StoreError` for a slot without one."""
        address = self._owners[slot]
        if address is None:
            raise StoreError(f"no server of the Redis Cluster owns slot {slot}; mend it with redis-cli --cluster fix")
        return address

    def moved(self, slot: int, address: Address) -> None:
        """A server said so."""
        self._owners[slot] = address

    def masters(self) -> list[Address]:
        """All owners, in order."""
        return sorted({address for address in self._owners if address is not None})

    def _ask_in_turn(self, deadline: Deadline) -> None:
        """The first answer counts. A server that fails is asked last the next time, so that it delays one call only."""
        failure = StoreError("no server of the Redis Cluster answered")
        for source in self._sources:
            half = Deadline.after(_CLOCK, deadline.left_ms() / 2)  # a frozen server leaves time for another
            try:
                reply = self._ask(source, half)
                if isinstance(reply, Exception):
                    raise StoreError(f"Redis at {source} tells no slots ({reply}); is it a cluster?") from reply
            except StoreError as error:
                failure = error
                self._sources = (*(other for other in self._sources if other != source), source)
                continue
            self._owners = _owners(reply, source)
            self._sources = tuple(dict.fromkeys((source, *self.masters(), *self._seeds)))
            self._doubted = False
            return
        raise failure


def _owners(reply: Iterable[Any], source: Address) -> list[Address | None]:
    """From ranges (first slot, last slot, (host, port, …) of the master, replicas …); an empty host is the source's."""
    owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, (host, port, *_), *_ in reply:
        address = Address(host.decode() if host else source.host, port)
        owners[first : last + 1] = [address] * (last + 1 - first)
    return owners
