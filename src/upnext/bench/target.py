"""Where load is aimed and the request bytes sent there; knows no server but by its URL, and opens no connection."""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from upnext.errors import SettingsError, UpnextError


@dataclass(frozen=True)
class Target:
    """One HTTP/1.1 endpoint. `path` starts with a slash and holds the query, if any."""

    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as in a URL or a Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"http://{self.authority}{self.path}"


def parse_target(url: str, path: str = "/v1/recommend", *, allow_remote: bool = False) -> Target:
    """The endpoint `path` below `url`.

    Raises SettingsError when the URL is not plain http, or when any address of its host is not a loopback address and
    `allow_remote` is false: a load generator aimed by mistake is an attack. Raises UpnextError for an unknown host.
    """
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        port = parts.port or 80
    except ValueError as error:
        raise SettingsError(f"{url!r} is not a URL ({error}); give one like http://127.0.0.1:8000") from error
    if parts.scheme != "http" or not parts.hostname:
        raise SettingsError(f"{url!r} is not a plain http URL; give one like http://127.0.0.1:8000")
    if not allow_remote and (remote := _first_remote_address(parts.hostname, port)):
        raise SettingsError(
            f"{parts.hostname} is {remote}, another machine; add --allow-remote if its owner agreed to this load"
        )
    return Target(parts.hostname, port, parts.path.rstrip("/") + "/" + path.lstrip("/"))


def _first_remote_address(host: str, port: int) -> str | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UpnextError(f"no address is known for {host} ({error}); check the spelling of the URL") from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    return next((address for address in addresses if not ipaddress.ip_address(address).is_loopback), None)


def recommend_requests(target: Target, user_ids: Iterable[str], k: int) -> list[bytes]:
    """One ready-to-send POST per user, asking for `k` items, in the order of `user_ids`."""
    head = (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n"
        "Content-Type: application/json\r\nAccept: application/json\r\nContent-Length: "
    ).encode()
    bodies = (msgspec.json.encode({"user_id": user_id, "k": k}) for user_id in user_ids)
    return [b"%b%d\r\n\r\n%b" % (head, len(body), body) for body in bodies]


def numbered_users(count: int) -> list[str]:
    """user0 … user{count-1}, the ids of the releases that benchmarks build."""
    return [f"user{number}" for number in range(count)]
