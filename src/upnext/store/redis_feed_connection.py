"""One connection on which a Redis server tells, unasked, which names were changed; knows no keys and no trust.

Source: Redis' server-assisted client side caching in broadcasting mode (`CLIENT TRACKING ON BCAST PREFIX`, Redis 6 and
later). The server sends the names that a turn of its event loop has changed together with the replies to those who
changed them; a flush of a whole database as none instead of names. It does not tell databases apart: a change of the
same name in another one is told as well.
"""

import ssl
from typing import NamedTuple

from upnext.clock import Clock, Deadline
from upnext.errors import StoreError
from upnext.store.redis_addresses import Address
from upnext.store.redis_connection import Account, DeadlineConnection, TimedSocket, translated
from upnext.store.redis_feed_messages import Messages, Push, Refusal, packed

_READ_BYTES = 64 * 1024  # more than TLS gives at once, so that nothing is left where waiting cannot see it


class Told(NamedTuple):
    """What has come meanwhile."""

    names: list[bytes]  # changed, in order
    everything: bool  # any name may have changed
    answers: list[object]  # to heartbeats


class TrackedConnection:
    """It hears of every change to a name that starts with `prefix`, from before it is returned until it breaks."""

    def __init__(
        self,
        address: Address,
        account: Account,
        prefix: bytes,
        heartbeat: tuple[bytes, ...],
        clock: Clock,
        deadline: Deadline,
    ) -> None:
        """Connects, is let in, and listens. Raises `StoreTimeout` or `StoreError`.

        `heartbeat` is a command without effect, sent now and at every `beat`; `clock` judges how long its answer takes.
        """
        self.address = address
        self._heartbeat = packed([heartbeat])
        self._prefix = prefix
        self._clock = clock
        self._messages = Messages()
        self._connection = DeadlineConnection(address, account, deadline)
        self.socket = self._connection.bare
        self.sent_ms = clock.monotonic_ms()
        self.heard_ms = self.sent_ms  # when the last answered heartbeat was sent: changes until then were told
        self.waits = False  # whether a heartbeat is unanswered
        try:
            self.first_answer = self._listen(deadline)
            self.socket.setblocking(False)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise translated(error, address) from error
            raise

    def beat(self) -> None:
        """Sends a heartbeat; one at a time. Raises `StoreError`."""
        try:
            self.socket.send(self._heartbeat)
        except OSError as error:
            raise translated(error, self.address) from error
        self.sent_ms = self._clock.monotonic_ms()
        self.waits = True

    def read(self) -> Told:
        """What has come, without waiting. Raises `StoreError` once the connection is broken."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return Told([], False, [])
        except OSError as error:
            raise translated(error, self.address) from error
        return self._told(self._messages.of(self._some(data)))

    def answered(self) -> None:
        """To be called once what came before the answer has been passed on."""
        self.heard_ms = self.sent_ms
        self.waits = False

    def close(self) -> None:
        self._connection.close()

    def _listen(self, deadline: Deadline) -> object:
        """Turns telling on; the answer to the first heartbeat. Names told meanwhile are dropped: any may be new."""
        timed = TimedSocket(self.socket, deadline)
        tracking = (b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", self._prefix)
        timed.sendall(packed([(b"HELLO", b"3"), tracking]) + self._heartbeat)
        replies: list[object] = []
        while len(replies) < 3:
            replies += self._replies(self._messages.of(self._some(timed.recv(_READ_BYTES))))
        for reply in replies:
            if isinstance(reply, Refusal):
                raise StoreError(
                    f"Redis at {self.address} does not tell of changes ({reply}); it must be version 6 or later, and "
                    "the user in store.url needs the right to HELLO, CLIENT TRACKING, PING and CLUSTER NODES"
                )
        return replies[2]

    def _some(self, data: bytes) -> bytes:
        if not data:
            raise StoreError(f"Redis at {self.address} closed the connection; see that it runs")
        return data

    def _replies(self, messages: list[object]) -> list[object]:
        return [message for message in messages if not isinstance(message, Push)]

    def _told(self, messages: list[object]) -> Told:
        names: list[bytes] = []
        everything = False
        for message in messages:
            if isinstance(message, Push) and message[0] == b"invalidate":
                names += message[1] or []
                everything |= message[1] is None
        if not all(name.startswith(self._prefix) for name in names):
            everything = True  # the first releases of Redis 6 told of a flush by a name that nobody has
        answers = self._replies(messages)
        for answer in answers:
            if isinstance(answer, Refusal):
                raise StoreError(f"Redis at {self.address} refused a heartbeat ({answer}); see its log")
        return Told(names, everything, answers)
