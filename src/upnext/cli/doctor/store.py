"""Whether the store answers, soon enough, and keeps what it is given; judges facts read elsewhere."""

import msgspec

from upnext.cli.doctor.check import Check, ok, problem, warning

_GROUP = "store"
_OLDEST_REDIS = (6, 0)
_SHARE_OF_TIMEOUT = 0.25  # a median round trip may take
_LMDB_MS = 2.0


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a store showed of itself."""

    kind: str  # LMDB, Redis, Redis cluster
    error: str = ""  # why it cannot be used; then the rest says nothing
    round_trips_ms: list[float] = []
    timeout_ms: float = 0.0  # most that one may take; 0 for an embedded store
    servers: dict[str, dict[str, str]] = {}  # by address: what INFO says of a Redis server
    cluster_state: str = ""  # of a cluster: ok or fail


def check_store(facts: StoreFacts) -> list[Check]:
    """All that concerns the store of states."""
    if facts.error:
        advice = "start it, or mend store.url and its account; see also store.timeout_ms"
        if facts.kind == "LMDB":
            advice = "let the user that runs the server own HOME/state; a damaged one may be deleted: it is made anew"
        return [problem(_GROUP, "reachable", f"{facts.kind}: {facts.error}", advice)]
    checks = [ok(_GROUP, "reachable", facts.kind), _round_trip(facts)]
    if facts.servers:
        checks += [_version(facts), _eviction(facts)]
    if facts.cluster_state:
        checks.append(_cluster(facts))
    return checks


def _round_trip(facts: StoreFacts) -> Check:
    times = sorted(facts.round_trips_ms)
    if not times:
        return ok(_GROUP, "round trip", "nothing is stored yet")
    p50 = times[len(times) // 2]
    found = f"p50 {p50:.3g} ms, longest {times[-1]:.3g} ms of {len(times)}"
    if not facts.timeout_ms:
        if p50 > _LMDB_MS:
            return warning(_GROUP, "round trip", found, "put HOME on a local disk; network file systems do not do")
        return ok(_GROUP, "round trip", found)
    found += f", store.timeout_ms {facts.timeout_ms:g}"
    if p50 > facts.timeout_ms * _SHARE_OF_TIMEOUT:
        advice = "bring Redis nearer (same zone), or see what keeps it busy: redis-cli --latency, SLOWLOG GET"
        return warning(_GROUP, "round trip", found, advice)
    return ok(_GROUP, "round trip", found)


def _version(facts: StoreFacts) -> Check:
    versions = {address: info.get("redis_version", "") for address, info in facts.servers.items()}
    found = ", ".join(f"{address} {version or '?'}" for address, version in versions.items())
    if any(version and _parsed(version) < _OLDEST_REDIS for version in versions.values()):
        return problem(_GROUP, "version", found, "use Redis 6 or later: changes are told by client-side caching")
    return ok(_GROUP, "version", found)


def _eviction(facts: StoreFacts) -> Check:
    """Whether states vanish when memory gets short."""
    policies = {address: info.get("maxmemory_policy", "") for address, info in facts.servers.items()}
    bad = {address: policy for address, policy in policies.items() if policy not in ("", "noeviction")}
    if bad:
        found = ", ".join(f"{address} {policy}" for address, policy in bad.items())
        advice = "redis-cli CONFIG SET maxmemory-policy noeviction, else users' states vanish when memory is short"
        return problem(_GROUP, "eviction", found, advice)
    return ok(_GROUP, "eviction", "noeviction")


def _cluster(facts: StoreFacts) -> Check:
    if facts.cluster_state != "ok":
        advice = "see redis-cli CLUSTER INFO and CLUSTER NODES: some slots have no server"
        return problem(_GROUP, "cluster", f"state {facts.cluster_state}", advice)
    return ok(_GROUP, "cluster", f"state ok, {len(facts.servers)} masters")


def _parsed(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
