"""Which request needs which key, and where a server without keys may listen; the gateway acts on it."""

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from upnext.errors import SettingsError
from upnext.serve.keys import Keys, Scope

# What a request needs: one scope; any key; the operate scope and the default tenant, for what tells of all tenants
# together; or no key.
Need: TypeAlias = Scope | Literal["any key", "operate the server", "nothing"]


class Rule(NamedTuple):
    """What requests of one method to one path need. `{…}` stands for any text."""

    method: str
    path: str
    needs: Need


# The one table of who may do what. A HEAD is a GET. What no rule names needs the most: `operate the server`.
RULES = (
    Rule("GET", "/healthz", "nothing"),
    Rule("GET", "/readyz", "nothing"),
    Rule("GET", "/demo", "nothing"),
    Rule("GET", "/demo/static/{name}", "nothing"),
    Rule("POST", "/demo/page", "recommend"),
    Rule("POST", "/v1/events", "ingest"),
    Rule("POST", "/v1/items", "ingest"),
    Rule("DELETE", "/v1/items/{item_id}", "ingest"),
    Rule("POST", "/v1/users", "ingest"),
    Rule("POST", "/v1/recommend", "recommend"),
    Rule("POST", "/v1/rank", "recommend"),
    Rule("GET", "/v1/popular", "recommend"),
    Rule("GET", "/v1/items/{item_id}/similar", "recommend"),
    Rule("GET", "/openapi.json", "any key"),
    Rule("GET", "/v1/users/{user_id}", "operate"),
    Rule("DELETE", "/v1/users/{user_id}", "operate"),
    Rule("GET", "/v1/deadletters", "operate"),
    Rule("GET", "/v1/deadletters/{rest}", "operate"),
    Rule("POST", "/v1/deadletters/{rest}", "operate"),
    Rule("DELETE", "/v1/deadletters/{rest}", "operate"),
    Rule("GET", "/v1/ops/slow", "operate"),
    Rule("GET", "/v1/ops/figures", "operate the server"),
    Rule("GET", "/v1/ops/stream", "operate the server"),
    Rule("GET", "/v1/ops/releases", "operate"),
    Rule("POST", "/v1/ops/releases/{release_id}/activate", "operate"),
    Rule("POST", "/v1/ops/releases/rollback", "operate"),
    Rule("GET", "/v1/ops/users/{user_id}", "operate"),
    Rule("POST", "/v1/ops/explain", "operate"),
    Rule("GET", "/console", "nothing"),
    Rule("GET", "/console/static/{name}", "nothing"),
    Rule("GET", "/metrics", "operate the server"),
)


class Needs:
    """Rules, made fit for asking: whole paths by a dictionary, the few others one after the other."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._whole: dict[tuple[str, str], Need] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Need]] = []
        for method, path, needs in rules:
            if "{" in path:
                pattern = re.compile(re.sub(r"\\{.*?\\}", ".+", re.escape(path)), re.DOTALL)
                self._patterns.append((method, pattern, needs))
            else:
                self._whole[method, path] = needs

    def of(self, method: str, path: str) -> Need:
        """What the request needs; the most where no rule names it, since the application may know it all the same."""
        return self.named(method, path) or "operate the server"

    def named(self, method: str, path: str) -> Need | None:
        """What the first rule that fits says; None where none does."""
        if method == "HEAD":
            method = "GET"
        needs = self._whole.get((method, path))
        if needs is not None:
            return needs
        for at, pattern, needed in self._patterns:
            if at == method and pattern.fullmatch(path):
                return needed
        return None


def token_in(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The first `X-Api-Key` or `Authorization: Bearer` among raw headers with names in lower case; None without."""
    for name, value in headers:
        if name == b"authorization":
            if value[:7].lower() == b"bearer ":  # another scheme is for a proxy on the way
                return value[7:].strip()
        elif name == b"x-api-key":
            return value.strip()
    return None


def check_listen(host: str, keys: Keys) -> None:
    """Nothing, where there are keys or `host` reaches this machine alone, by all addresses that its name has.

    Raises `SettingsError` where others could ask and no key is needed, and for a name that has no address.
    """
    if not keys.empty:
        return
    advice = f"make a key with `upnext keys create --home {keys.path.parent} --scope …`, or listen on 127.0.0.1"
    try:
        # An empty host stands for all addresses, to servers, but not to the resolver.
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)} if host else {"0.0.0.0"}
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"the host {host!r} has no address ({error}), so nobody can say who reaches it") from error
    open_to_others = sorted(address for address in found if not _is_loopback(address))
    if open_to_others:
        raise SettingsError(
            f"there is no API key, and others than this machine reach {host or 'all addresses'} "
            f"({', '.join(open_to_others)}); {advice}"
        )


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
