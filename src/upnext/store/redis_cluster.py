"""Sends commands to where their slot lives in a Redis Cluster, and follows slots that move; knows nothing of values."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import redis
from redis.crc import key_slot

from upnext.clock import Deadline
from upnext.errors import StoreError
from upnext.store.redis_addresses import Address
from upnext.store.redis_connection import Account, Command, Reply
from upnext.store.redis_links import CONNECTIONS, Request, pause
from upnext.store.redis_node import Node, exchange
from upnext.store.redis_slots import SlotMap

_ASKING: Command = (b"ASKING",)
_SLOTS: Command = (b"CLUSTER", b"SLOTS")
Waiting = tuple[int, Address | None]  # a request's number, and who is to be asked this once instead of the owner


class ClusterLink:
    """A cluster, found through any of `seeds`. Reads and writes go to masters.

    A slot that has moved is learned from the redirection, within the call. After a failure the call fails, and the
    next one asks anew who owns what, so that it finds a replica that was promoted meanwhile.
    """

    def __init__(self, seeds: Sequence[Address], account: Account, connections: int = CONNECTIONS) -> None:
        self._account = account
        self._connections = connections
        self._nodes: dict[Address, Node] = {}
        self._slots = SlotMap(seeds, lambda source, deadline: self.ask(source, _SLOTS, deadline))

    def slot_of(self, tag: bytes) -> int:
        return key_slot(tag)

    def exchange(self, requests: Sequence[Request], deadline: Deadline) -> list[Reply]:
        self._learn(deadline)
        replies: list[Reply] = [None] * len(requests)
        waiting: list[Waiting] = [(number, None) for number in range(len(requests))]
        for turn in count():
            if turn > 1:  # one redirection is ordinary, further ones are a move in progress
                pause(turn, deadline)
            with self._doubting():
                waiting = self._turn(requests, waiting, replies, deadline)
            if not waiting:
                break
        return replies

    def servers(self, deadline: Deadline) -> list[Address]:
        self._learn(deadline)
        return self._slots.masters()

    def ask(self, server: Address, command: Command, deadline: Deadline) -> Reply:
        with self._doubting():
            return exchange([(self._node(server), [command])], deadline)[0][0]

    def close(self) -> None:
        for node in list(self._nodes.values()):
            node.close()

    def _turn(
        self, requests: Sequence[Request], waiting: Iterable[Waiting], replies: list[Reply], deadline: Deadline
    ) -> list[Waiting]:
        """Sends what waits, notes the replies, and returns what must be sent again, elsewhere or later."""
        of_server: dict[Address, list[Waiting]] = {}
        for number, asked in waiting:
            address = asked or self._slots.owner(requests[number][0])
            of_server.setdefault(address, []).append((number, asked))
        batches = []
        for address in sorted(of_server):
            commands: list[Command] = []
            for number, asked in of_server[address]:
                commands += [_ASKING] * (asked is not None) + [requests[number][1]]
            batches.append((self._node(address), commands))
        again: list[Waiting] = []
        for (node, _), answers in zip(batches, exchange(batches, deadline), strict=True):
            rest = iter(answers)
            for number, asked in of_server[node.address]:
                if asked is not None:
                    next(rest)  # the reply to ASKING
                replies[number] = reply = next(rest)
                if isinstance(reply, redis.ResponseError):
                    again += self._again(number, requests[number][0], reply, node.address)
        return sorted(again, key=lambda item: item[0])

    def _again(self, number: int, slot: int, refusal: Any, by: Address) -> list[Waiting]:
        """How to ask again after a refusal; empty when it is final."""
        if isinstance(refusal, redis.exceptions.MovedError):
            self._slots.moved(slot, Address(refusal.host or by.host, int(refusal.port)))
            return [(number, None)]
        if isinstance(refusal, redis.exceptions.AskError):
            return [(number, Address(refusal.host or by.host, int(refusal.port)))]
        if isinstance(refusal, redis.exceptions.TryAgainError):  # some of its keys are here, some already there
            return [(number, None)]
        if isinstance(refusal, redis.exceptions.ClusterDownError):
            self._slots.doubt()
        return []

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """After an error inside, the next call asks anew who owns what."""
        try:
            yield
        except StoreError:
            self._slots.doubt()
            raise

    def _learn(self, deadline: Deadline) -> None:
        if self._slots.learn(deadline):
            masters = self._slots.masters()
            for address in [address for address in list(self._nodes) if address not in masters]:
                self._nodes.pop(address).close()

    def _node(self, address: Address) -> Node:
        """Atomic, so two threads never use two pools for one server."""
        return self._nodes.get(address) or self._nodes.setdefault(
            address, Node(address, self._account, self._connections)
        )
