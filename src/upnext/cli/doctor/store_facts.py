"""Asks a store how it is; judges nothing."""

from contextlib import closing
from pathlib import Path

from upnext.cli.doctor.store import StoreFacts
from upnext.clock import Clock, Deadline
from upnext.errors import UpnextError
from upnext.settings import StoreSettings
from upnext.store.interface import Store
from upnext.store.opening import open_store, redis_of

_TURNS = 25
_PATIENCE_MS = 2_000.0


def read_store(home: Path, settings: StoreSettings, clock: Clock) -> StoreFacts:
    """What the store of these settings shows of itself; a home without one is given none."""
    remote = bool(settings.url)
    kind = "LMDB"
    try:
        if not remote and not (home / "state").is_dir():
            return StoreFacts(kind=kind)
        if remote:
            kind = "Redis cluster" if settings.url.startswith("redis+cluster:") else "Redis"
            servers, state = _asked(settings, clock)
        with closing(open_store(home, settings, clock)) as store:
            times = _round_trips(store, clock)
    except (UpnextError, OSError) as error:
        return StoreFacts(kind=kind, error=str(error))
    if not remote:
        return StoreFacts(kind=kind, round_trips_ms=times)
    return StoreFacts(
        kind=kind, round_trips_ms=times, timeout_ms=settings.timeout_ms, servers=servers, cluster_state=state
    )


def _round_trips(store: Store, clock: Clock) -> list[float]:
    """Milliseconds that reading a key takes that is not there; the first, which connects, is left out."""
    times = []
    for _ in range(_TURNS + 1):
        begin_ms = clock.monotonic_ms()
        store.get_many([b"doctor"], Deadline.after(clock, _PATIENCE_MS))
        times.append(clock.monotonic_ms() - begin_ms)
    return times[1:]


def _asked(settings: StoreSettings, clock: Clock) -> tuple[dict[str, dict[str, str]], str]:
    """What every server says of itself, and the state of the cluster, if it is one."""
    from upnext.store.redis_cluster import ClusterLink
    from upnext.store.redis_links import Link, ServerLink

    addresses, account, is_cluster = redis_of(settings)
    link: Link = ClusterLink(addresses, account) if is_cluster else ServerLink(addresses[0], account)
    with closing(link):
        deadline = Deadline.after(clock, _PATIENCE_MS)
        servers = link.servers(deadline)
        infos = {str(each): parsed_info(link.ask(each, (b"INFO",), deadline)) for each in servers}
        state = ""
        if is_cluster and servers:
            state = parsed_info(link.ask(servers[0], (b"CLUSTER", b"INFO"), deadline)).get("cluster_state", "unknown")
    return infos, state


def parsed_info(reply: object) -> dict[str, str]:
    """Names and values of what INFO answers; nothing where the account may not ask."""
    if not isinstance(reply, bytes):
        return {}
    pairs = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value.strip() for name, separator, value in pairs if separator}
