"""Hears from Redis, within moments, which keys of one family anybody has changed; knows nothing of their values."""

import logging
import math
import random
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from upnext.clock import Clock, Deadline, SystemClock
from upnext.errors import StoreError, StoreTimeout
from upnext.store.redis_addresses import Address
from upnext.store.redis_connection import Account
from upnext.store.redis_feed_connection import TrackedConnection
from upnext.store.redis_feed_masters import View, view_of
from upnext.store.redis_names import Names

_log = logging.getLogger(__name__)
_IO_CLOCK = SystemClock()  # waiting on sockets takes real time, whatever clock judges trust
_OPEN_MS = 1_000.0  # most that one connection may take to be made
_DROP_MS = 2_000.0  # after which a connection without an answer is given up
_STEADY_MS = 5_000.0  # after which a new failure is the first again
_FIRST_PAUSE_MS = 25.0
_LONGEST_PAUSE_MS = 2_000.0
_PING = (b"PING",)
_NODES = (b"CLUSTER", b"NODES")


class RedisFeed:
    """A daemon thread with one connection to the server, or to every master of a cluster.

    Trust is a lease: it holds for `heartbeat_ms + answer_ms` from the moment at which the last answered heartbeat was
    sent on the connection that is furthest behind, and everything changed before that moment has been passed on. So it
    ends by itself when a server freezes, the network goes or this thread is not let run. It ends at once when a
    connection breaks or the cluster's members or their slots change; then all connections are made anew, `everything`
    is called, and trust begins again. A server that only stalls and goes on costs the time of the stall, no more.

    Both callables are called on the thread, one at a time. Should one raise, that counts as a broken connection.
    To be made after a fork, never before.
    """

    def __init__(
        self,
        servers: Sequence[Address],
        account: Account,
        *,
        cluster: bool,
        prefix: str,
        family: bytes,
        changed: Callable[[Sequence[bytes]], None],
        everything: Callable[[], None],
        clock: Clock | None = None,
        heartbeat_ms: float = 200.0,
        answer_ms: float = 500.0,
    ) -> None:
        """Returns at once. `changed` gets the keys that start with `family`, as `Store` knows them, in batches.

        `servers` are the one server, or some of the cluster; `prefix` is the store's. A change that had no effect may
        be told too, as may one to the same names in another database of the server.
        """
        self._seeds = tuple(servers)
        self._sources = self._seeds  # whom of a cluster to ask first
        self._account = account
        self._cluster = cluster
        self._names = Names(prefix, lambda tag: 0)
        self._family = family
        self._changed = changed
        self._everything = everything
        self._clock = clock or SystemClock()
        self._heartbeat_ms = heartbeat_ms
        self._lease_ms = heartbeat_ms + answer_ms
        self._until_ms = -math.inf  # trust ends then
        self._failures = 0
        self._outage = False
        self._closed = False
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True, name="redis feed")
        self._thread.start()

    @property
    def trusted(self) -> bool:
        """As promised by `Feed`. From any thread, in less than a microsecond."""
        return not self._closed and self._clock.monotonic_ms() < self._until_ms

    def close(self) -> None:
        """Neither callable is called after this; waits for one under way. Again is fine."""
        if self._closed:
            return
        self._closed = True
        self._wake.close()  # which makes the other end ready
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * _OPEN_MS / 1e3)

    def _run(self) -> None:
        with self._woken, selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._closed:
                started_ms = self._clock.monotonic_ms()
                try:
                    self._session(selector)
                except Exception as error:  # whatever it is, the next try must come
                    self._lost(error)
                finally:
                    self._until_ms = -math.inf
                if self._clock.monotonic_ms() - started_ms > _STEADY_MS:
                    self._failures = 0
                pause_ms = min(_FIRST_PAUSE_MS * 2.0 ** min(self._failures, 16), _LONGEST_PAUSE_MS)
                self._failures += 1
                if not self._closed:
                    selector.select(random.uniform(pause_ms / 2, pause_ms) / 1e3)

    def _session(self, selector: selectors.BaseSelector) -> None:
        """From the first connection to the first that breaks, whose error is raised; or to the end."""
        with ExitStack() as opened:
            views = self._open_all(opened)
            for connection in views:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                opened.callback(selector.unregister, connection.socket)
            if self._closed:
                return
            self._everything()
            self._renew(views)
            while not self._closed:
                wait_ms = self._beat(views)
                ready = selector.select(wait_ms / 1e3)
                self._hear([key.data for key, _ in ready if key.data is not None], views)

    def _hear(self, ready: Iterable[TrackedConnection], views: dict[TrackedConnection, View | None]) -> None:
        """Passes on what has come, and only then believes the answers to heartbeats behind it."""
        names: list[bytes] = []
        everything = False
        answered = []
        for connection in ready:
            told = connection.read()
            names += told.names
            everything |= told.everything
            for answer in told.answers:
                if self._cluster and view_of(answer, connection.address) != views[connection]:
                    raise StoreError(
                        f"the members of the Redis Cluster or their slots changed, says {connection.address}"
                    )
                answered.append(connection)
        if self._closed:
            return
        if everything:
            self._everything()
        elif keys := self._names.keys_told(names, self._family):
            self._changed(keys)
        if answered:
            for connection in answered:
                connection.answered()
            self._renew(views)

    def _beat(self, connections: Iterable[TrackedConnection]) -> float:
        """Sends the heartbeats that are due; in how many ms the next is. Raises `StoreTimeout` for a dead server."""
        next_ms = self._heartbeat_ms
        for connection in connections:
            age_ms = self._clock.monotonic_ms() - connection.sent_ms
            if connection.waits:
                if age_ms >= _DROP_MS:
                    raise StoreTimeout(
                        f"Redis at {connection.address} did not answer for {_DROP_MS / 1e3:g} s; see what keeps it busy"
                    )
            elif age_ms >= self._heartbeat_ms:
                connection.beat()
            else:
                next_ms = min(next_ms, self._heartbeat_ms - age_ms)
        return next_ms

    def _renew(self, connections: Iterable[TrackedConnection]) -> None:
        self._until_ms = min(connection.heard_ms for connection in connections) + self._lease_ms
        if self._outage and self.trusted:
            self._outage = False
            _log.warning("changes in Redis are heard again")

    def _lost(self, error: Exception) -> None:
        self._until_ms = -math.inf
        if not self._outage and not self._closed:
            self._outage = True
            known = isinstance(error, StoreError)
            _log.warning("changes in Redis are not heard, so nothing is believed unseen: %s", error, exc_info=not known)

    def _open_all(self, opened: ExitStack) -> dict[TrackedConnection, View | None]:
        """A connection to whoever may take writes; of a cluster, in the view of any of them."""
        if not self._cluster:
            return {self._open(self._seeds[0], opened): None}
        views: dict[TrackedConnection, View | None] = {}
        first = self._open_any(opened)
        known: set[Address] = set()
        waiting = [first]
        while waiting:
            connection = waiting.pop()
            view = views[connection] = view_of(connection.first_answer, connection.address)
            known.add(view.source)
            for address in view.addresses():
                if address not in known:
                    known.add(address)
                    waiting.append(self._open(address, opened))
        self._sources = tuple(dict.fromkeys((first.address, *sorted(known), *self._seeds)))
        return views

    def _open_any(self, opened: ExitStack) -> TrackedConnection:
        """To the first member that answers."""
        failure = StoreError("no server of the Redis Cluster answered")
        for source in self._sources:
            try:
                return self._open(source, opened)
            except StoreError as error:
                failure = error
        raise failure

    def _open(self, address: Address, opened: ExitStack) -> TrackedConnection:
        if self._closed:
            raise StoreError("the feed of changes in Redis is closed; open it again")
        heartbeat = _NODES if self._cluster else _PING
        deadline = Deadline.after(_IO_CLOCK, _OPEN_MS)
        connection = TrackedConnection(address, self._account, self._names.start(), heartbeat, self._clock, deadline)
        opened.callback(connection.close)
        return connection
