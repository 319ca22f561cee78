"""Opens the store that the settings name; knows nothing of what is kept there."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from upnext.clock import Clock
from upnext.errors import SettingsError
from upnext.settings import StoreSettings
from upnext.store.interface import Store
from upnext.store.lmdb_store import LmdbStore

if TYPE_CHECKING:
    from upnext.store.redis_addresses import Address
    from upnext.store.redis_connection import Account

_PORT = 6379
_FORMS = "give redis://HOST:PORT/DB, rediss://HOST:PORT/DB, redis+cluster://HOST:PORT,HOST:PORT, or nothing for LMDB"
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s]+)(?::(\d{1,5}))?")


class RedisUrl(NamedTuple):
    """What `store.url` says."""

    scheme: str
    username: str | None
    password: str | None
    servers: list[tuple[str, int]]  # host, port
    database: int


def open_store(home: Path, settings: StoreSettings, clock: Clock | None = None) -> Store:
    """The store of `settings.url`; without one, LMDB in `home`/state. A Redis need not run yet.

    With rediss:// the server's certificate is checked against the system's authorities, or those in the file that
    the environment variable SSL_CERT_FILE names. Raises `SettingsError` for a url of another form, `StoreError` when
    a folder cannot be used.
    """
    if not settings.url:
        return LmdbStore(home / "state", clock)
    servers, account, cluster = redis_of(settings)
    # Redis' library takes a tenth of a second to import: only for those who use it.
    from upnext.store.redis_cluster import ClusterLink
    from upnext.store.redis_links import Link, ServerLink
    from upnext.store.redis_store import RedisStore

    link: Link = ClusterLink(servers, account) if cluster else ServerLink(servers[0], account)
    return RedisStore(link, clock, prefix=settings.prefix, timeout_ms=settings.timeout_ms)


def redis_of(settings: StoreSettings) -> "tuple[list[Address], Account, bool]":
    """The servers of `settings.url`, how to be let in, and whether they are a cluster. Raises `SettingsError`."""
    url = parse_url(settings.url)
    if "{" in settings.prefix or "}" in settings.prefix:
        raise SettingsError(f"store.prefix is {settings.prefix!r}; leave out braces, by which Redis places keys")
    import ssl

    from upnext.store.redis_addresses import Address
    from upnext.store.redis_connection import Account

    tls = ssl.create_default_context() if url.scheme == "rediss" else None
    account = Account(url.username, url.password, url.database, tls)
    return [Address(host, port) for host, port in url.servers], account, url.scheme == "redis+cluster"


def parse_url(url: str) -> RedisUrl:
    """`scheme://[[user]:password@]host[:port][,host[:port]…][/database]`; user and password may be percent-encoded.

    Raises `SettingsError`, which never repeats the password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("redis", "rediss", "redis+cluster"):
        kind = scheme if re.fullmatch(r"[a-z+]{1,20}", scheme) else "(none)"  # anything else may be a password
        raise SettingsError(f"store.url is of an unknown kind {kind}; {_FORMS}")
    login, _, place = rest.rpartition("@")
    username, _, password = login.partition(":")
    hosts, _, database = place.partition("/")
    found = [_SERVER.fullmatch(server) for server in hosts.split(",")]
    servers = [(match[1].strip("[]"), int(match[2] or _PORT)) for match in found if match]
    if len(servers) < len(found) or not all(0 < port < 65_536 for _, port in servers):
        raise SettingsError(f"store.url names the servers {hosts!r}, which is not HOST:PORT; {_FORMS}")
    if not re.fullmatch(r"\d{0,4}", database):
        raise SettingsError(f"store.url ends in /{database}, which is not a database's number; {_FORMS}")
    if scheme == "redis+cluster" and int(database or 0):
        raise SettingsError(f"store.url asks for database {database}, but a cluster has only database 0; leave it out")
    if scheme != "redis+cluster" and len(servers) > 1:
        raise SettingsError(
            f"store.url names {len(servers)} servers of {scheme}://; for a cluster use redis+cluster://"
        )
    return RedisUrl(scheme, unquote(username) or None, unquote(password) or None, servers, int(database or 0))
