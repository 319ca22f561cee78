"""One connection to a Redis server that keeps deadlines whatever the server does; knows nothing of keys."""

import select
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.connection import Connection

from upnext.clock import Deadline
from upnext.errors import StoreError, StoreTimeout
from upnext.store.redis_addresses import Address, endpoints

Command = tuple[bytes | int, ...]
Reply = Any  # bytes, int, None, a list of these, or a redis.ResponseError

_READ_BYTES = 64 * 1024


@dataclass(frozen=True)
class Account:
    """How to be let in."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = None


class TimedSocket:
    """A socket each of whose operations ends at `deadline`, however slowly the other side drips."""

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self.deadline = deadline
        self._raw = raw

    def recv(self, size: int) -> bytes:
        self._arm()
        return self._raw.recv(size)

    def recv_into(self, buffer: bytearray) -> int:
        self._arm()
        return self._raw.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._arm()
        self._raw.sendall(data)  # its timeout is for all of the data

    def settimeout(self, timeout_s: float | None) -> None:
        """Asked for by the library, and of no effect: the deadline rules."""

    def fileno(self) -> int:
        return self._raw.fileno()

    @property
    def raw(self) -> socket.socket:
        return self._raw

    def shutdown(self, how: int) -> None:
        self._raw.shutdown(how)

    def close(self) -> None:
        self._raw.close()

    def _arm(self) -> None:
        self._raw.settimeout(_left_s(self.deadline))


class _Transport(Connection):
    """The library's connection (protocol, log-in, database) over a `TimedSocket`, without its retries."""

    def __init__(self, address: Address, account: Account, deadline: Deadline) -> None:
        self._where = address
        self._tls = account.tls
        self._opened_until = deadline
        super().__init__(  # type: ignore[no-untyped-call]
            address.host,
            address.port,
            db=account.database,
            username=account.username,
            password=account.password,
            protocol=2,
            driver_info=None,  # else two more round trips to tell the server the library's name
            socket_read_size=_READ_BYTES,
        )

    def _connect(self) -> TimedSocket:
        """The library's own gives every address of a host the whole timeout, and each look-up as long as it likes."""
        refused = OSError("no address")
        for family, endpoint in endpoints(self._where, self._opened_until):
            raw = socket.socket(family, socket.SOCK_STREAM)
            try:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                raw.settimeout(_left_s(self._opened_until))
                raw.connect(endpoint)
                if self._tls is not None:
                    raw.settimeout(_left_s(self._opened_until))
                    raw = self._tls.wrap_socket(raw, server_hostname=self._where.host)
                return TimedSocket(raw, self._opened_until)
            except OSError as error:
                raw.close()
                refused = error
        raise refused


class DeadlineConnection:
    """One command after another, or several at once. It never retries, and once closed is not opened again.

    After any error, and unless as many replies were received as commands sent, it must be closed.
    """

    def __init__(self, address: Address, account: Account, deadline: Deadline) -> None:
        """Connects and is let in. Raises `StoreTimeout` or `StoreError`."""
        transport: Any = _Transport(address, account, deadline)  # the library types few of its methods
        try:
            transport.connect()
        except (redis.RedisError, OSError) as error:
            raise translated(error, address) from error
        self._transport = transport
        self._socket: TimedSocket = transport._sock

    def send(self, commands: Sequence[Command], deadline: Deadline) -> None:
        """Sends all of them, whose replies must be there by the deadline. Raises the library's errors and `OSError`."""
        self._socket.deadline = deadline
        self._transport.send_packed_command(self._transport.pack_commands(commands), check_health=False)

    def receive(self) -> Reply:
        """The next reply, the server's refusal as a value. Raises the library's errors and `OSError`."""
        try:
            return self._transport.read_response()
        except redis.ResponseError as refusal:
            return refusal

    def is_quiet(self) -> bool:
        """Whether nothing lies unread: one that the server has closed, or that has a stray reply, reads as ready."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    @property
    def bare(self) -> socket.socket:
        """The socket itself, for who speaks another protocol on it from now on; `close` still closes it."""
        return self._socket.raw

    def close(self) -> None:
        self._transport.disconnect()


def translated(error: Exception, address: Address) -> StoreError:
    """The library's error as ours, with what to do next."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, (redis.TimeoutError, TimeoutError)):
        return StoreTimeout(
            f"Redis at {address} did not answer in time; allow more (store.timeout_ms) or see what keeps it busy"
        )
    if isinstance(error, redis.AuthenticationError):
        return StoreError(f"Redis at {address} lets nobody in so ({error}); check user and password in store.url")
    return StoreError(f"Redis at {address} cannot be used ({error}); see that it runs and that store.url is right")


def _left_s(deadline: Deadline) -> float:
    left_ms = deadline.left_ms()
    if left_ms <= 0:
        raise TimeoutError("the deadline passed")
    return left_ms / 1e3
