"""Where Redis servers are, and host names looked up without outlasting a deadline; knows no protocol."""

import socket
import threading
from concurrent.futures import Future
from typing import Any, NamedTuple

from upnext.clock import Deadline


class Address(NamedTuple):
    """One server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Endpoint = tuple[int, Any]  # the socket's family, and what its `connect` takes

_lookups: dict[Address, "Future[list[Endpoint]]"] = {}  # those under way
_lookups_lock = threading.Lock()


def endpoints(address: Address, deadline: Deadline) -> list[Endpoint]:
    """What to connect to, best first. Raises `TimeoutError` past the deadline, `OSError` for an unknown name.

    The system's look-up of a name cannot be interrupted, so it runs aside: one thread per name at most.
    """
    try:
        return _looked_up(address, socket.AI_NUMERICHOST)
    except socket.gaierror:
        lookup = _lookup(address)
    return lookup.result(max(deadline.left_ms(), 0.0) / 1e3)


def _looked_up(address: Address, flags: int) -> list[Endpoint]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"{address.host[:80]} is not a host name") from error
    return [(family, endpoint) for family, _, _, _, endpoint in found]


def _lookup(address: Address) -> "Future[list[Endpoint]]":
    with _lookups_lock:
        lookup = _lookups.get(address)
        if lookup is None:
            lookup = _lookups[address] = Future()
            threading.Thread(target=_look_up, args=(address, lookup), daemon=True, name=f"look up {address}").start()
        return lookup


def _look_up(address: Address, lookup: "Future[list[Endpoint]]") -> None:
    try:
        lookup.set_result(_looked_up(address, 0))
    except OSError as error:
        lookup.set_exception(error)
    finally:
        with _lookups_lock:
            del _lookups[address]
