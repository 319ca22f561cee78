"""Sends commands to where their slot lives, in a single Redis server; knows nothing of values."""

import random
import time
from collections.abc import Sequence
from typing import Protocol

from upnext.clock import Deadline
from upnext.errors import StoreTimeout
from upnext.store.redis_addresses import Address
from upnext.store.redis_connection import Account, Command, Reply
from upnext.store.redis_node import Node, exchange

CONNECTIONS = 32  # most at once to one server: one per thread that waits for a reply
Request = tuple[int, Command]  # a command and the slot of its keys


class Link(Protocol):
    """What a store needs of Redis, be it one server or a cluster."""

    def slot_of(self, tag: bytes) -> int:
        """Where keys with the hash tag `tag` live; commands may name keys of one slot only."""

    def exchange(self, requests: Sequence[Request], deadline: Deadline) -> list[Reply]:
        """One reply per request, in their order, in one pipelined round trip per server where nothing has moved.

        A refusal is a `redis.ResponseError` among the replies. Raises `StoreTimeout` or `StoreError`.
        """

    def servers(self, deadline: Deadline) -> list[Address]:
        """All that hold keys."""

    def ask(self, server: Address, command: Command, deadline: Deadline) -> Reply:
        """The reply of one of them to a command without keys."""

    def close(self) -> None:
        """Closes all connections."""


class ServerLink:
    """A single server, which holds all slots."""

    def __init__(self, address: Address, account: Account, connections: int = CONNECTIONS) -> None:
        self._node = Node(address, account, connections)

    def slot_of(self, tag: bytes) -> int:
        return 0

    def exchange(self, requests: Sequence[Request], deadline: Deadline) -> list[Reply]:
        return exchange([(self._node, [command for _, command in requests])], deadline)[0]

    def servers(self, deadline: Deadline) -> list[Address]:
        return [self._node.address]

    def ask(self, server: Address, command: Command, deadline: Deadline) -> Reply:
        return exchange([(self._node, [command])], deadline)[0][0]

    def close(self) -> None:
        self._node.close()


def pause(turn: int, deadline: Deadline) -> None:
    """Waits a random moment, longer with every turn, before another try. Raises `StoreTimeout` past the deadline."""
    span_ms = random.uniform(0.0, min(0.25 * 2.0**turn, 10.0))
    if span_ms >= deadline.left_ms():
        raise StoreTimeout(
            "keys in Redis stayed busy past the deadline, by other writers or a move; try again or allow more time"
        )
    time.sleep(span_ms / 1e3)
