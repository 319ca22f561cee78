"""One Redis server's connections, a bounded number, and the exchange of commands with several; knows no keys."""

import os
import threading
from collections import deque
from collections.abc import Sequence

import redis

from upnext.clock import Deadline
from upnext.errors import StoreError, StoreTimeout
from upnext.store.redis_addresses import Address
from upnext.store.redis_connection import Account, Command, DeadlineConnection, Reply, translated


class Node:
    """At most `connections` to one server, each lent to one caller at a time and opened when first needed."""

    def __init__(self, address: Address, account: Account, connections: int) -> None:
        self.address = address
        self._account = account
        self._places = threading.BoundedSemaphore(connections)
        self._idle: deque[DeadlineConnection] = deque()
        self._closed = False
        self._process = os.getpid()

    def borrow(self, deadline: Deadline) -> DeadlineConnection:
        """An open connection on which nothing is under way. Raises `StoreTimeout` or `StoreError`."""
        if self._process != os.getpid():
            raise StoreError(
                f"Redis at {self.address} was opened before this process was forked; open stores after the fork, "
                "or start processes with the 'spawn' method"
            )
        if not self._places.acquire(timeout=max(deadline.left_ms(), 0.0) / 1e3):
            raise StoreTimeout(
                f"all connections to Redis at {self.address} stayed busy; allow more time or more of them"
            )
        try:
            return self._quiet() or DeadlineConnection(self.address, self._account, deadline)
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: DeadlineConnection, *, answered: bool) -> None:
        """Ends a loan. Unless every reply was read the connection is closed: the next reader would get them."""
        if answered and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
        self._places.release()
        if self._closed:
            self.close()

    def close(self) -> None:
        """Closes what is idle; what is lent is closed when it comes back."""
        self._closed = True
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread closed the last one
                return

    def _quiet(self) -> DeadlineConnection | None:
        """An idle connection, newest first, that the server has not closed meanwhile; None when all were."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_quiet():
                return connection
            connection.close()


def exchange(batches: Sequence[tuple[Node, Sequence[Command]]], deadline: Deadline) -> list[list[Reply]]:
    """One reply per command of one batch or more: every server is sent its own before the first reply is awaited.

    Servers must come in one order everywhere, each once, so that no two callers wait for each other's connections.
    Raises `StoreTimeout` or `StoreError`; a refusal of a single command is a value among the replies.
    """
    lent: list[tuple[Node, DeadlineConnection]] = []
    replies: list[list[Reply]] = []
    asked = batches[0][0].address
    try:
        for node, commands in batches:
            asked = node.address
            lent.append((node, node.borrow(deadline)))
            lent[-1][1].send(commands, deadline)
        for (node, connection), (_, commands) in zip(lent, batches, strict=True):
            asked = node.address
            replies.append([connection.receive() for _ in commands])
        return replies
    except (redis.RedisError, OSError) as error:
        raise translated(error, asked) from error
    finally:
        for number, (node, connection) in enumerate(lent):
            node.give_back(connection, answered=number < len(replies))
