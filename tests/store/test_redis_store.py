"""The Redis store keeps the promise of all stores, on one server and on a cluster, and keeps keys where it says."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.redis_servers import RedisCluster, RedisServer
from tests.store.conftest import PREFIX, Open
from tests.store.suite import NEVER, ProcessSuite, StoreSuite, count_up, with_threads
from upnext.clock import Deadline, ManualClock, SystemClock
from upnext.errors import StoreError, StoreTimeout
from upnext.store.interface import Store, Values
from upnext.store.redis_addresses import Address
from upnext.store.redis_connection import Account, Reply
from upnext.store.redis_links import Request, ServerLink
from upnext.store.redis_store import RedisStore


class TestRedisStore(StoreSuite, ProcessSuite):
    @pytest.fixture
    def store(self, clock: ManualClock, server: RedisServer, opens: Open) -> Store:
        return opens(server.url, clock)

    @pytest.fixture
    def url(self, server: RedisServer) -> str:
        return server.url


class TestRedisClusterStore(StoreSuite, ProcessSuite):
    @pytest.fixture
    def store(self, clock: ManualClock, cluster: RedisCluster, opens: Open) -> Store:
        return opens(cluster.url, clock)

    @pytest.fixture
    def url(self, cluster: RedisCluster) -> str:
        return cluster.url


@pytest.fixture
def store(server: RedisServer, opens: Open) -> Store:
    return opens(server.url)


def soon(budget_ms: float = 100) -> Deadline:
    return Deadline.after(SystemClock(), budget_ms)


def names(server: RedisServer) -> list[str]:
    return server.command("keys", "*").split()


def calls_of(server: RedisServer) -> dict[str, int]:
    """How often each command was run, by name."""
    lines = [line for line in server.command("info", "commandstats").splitlines() if line.startswith("cmdstat_")]
    return {line.split(":")[0].removeprefix("cmdstat_"): int(line.split("calls=")[1].split(",")[0]) for line in lines}


@pytest.mark.parametrize("subject", ["u:ANA", "s:", "u:a/b/c", "u:{x}", "u:}{", "u:Müller/{1}"])
def test_all_keys_of_one_user_are_in_one_slot(
    server: RedisServer, cluster: RedisCluster, store: Store, subject: str
) -> None:
    keys = [b"state/" + subject.encode(), b"vectors/gru-1/" + subject.encode()]
    store.put_many([(key, b"1") for key in keys], NEVER)
    placed = [cluster.servers[0].command("cluster", "keyslot", name) for name in names(server)]
    assert len(placed) == 2
    assert len(set(placed)) == 1


def test_one_user_is_read_swapped_and_put_by_one_command_each(server: RedisServer, store: Store) -> None:
    keys = [b"state/u:ANA", b"vectors/gru-1/u:ANA"]
    store.swap_many([keys], [[None, None]], [[b"1", b"2"]], NEVER)  # connected, and the script is known
    server.command("config", "resetstat")
    store.get_many(keys, NEVER)
    store.swap_many([keys], [[b"1", b"2"]], [[b"3", b"4"]], NEVER)
    store.put_many([(key, b"5") for key in keys], NEVER)
    calls = calls_of(server)
    assert (calls["mget"], calls["evalsha"], calls["mset"]) == (1, 1, 1)
    assert set(calls) <= {"mget", "evalsha", "mset", "get", "set", "config|resetstat"}  # get and set in the script


def test_a_call_of_many_keys_is_cut_into_round_trips_that_never_part_a_tag(server: RedisServer, store: Store) -> None:
    users = [b"u%d" % number for number in range(500)]
    keys = [kind + user for kind in (b"state/", b"vectors/") for user in users]
    large = [(key, bytes(20_000)) for key in keys[:100]]
    server.command("config", "resetstat")
    store.put_many([(key, key) for key in keys], NEVER)
    assert store.get_many(keys, NEVER) == keys
    assert calls_of(server)["mset"] == calls_of(server)["mget"] == 8
    store.put_many(large, NEVER)
    assert calls_of(server)["mset"] == 8 + 2
    groups = [[b"state/" + user, b"vectors/" + user] for user in users]
    held = store.get_many(keys, NEVER)
    expected: list[Values] = [[state, vector] for state, vector in zip(held[:500], held[500:], strict=True)]
    wanted = [[b"1", None if number % 2 else b"2"] for number in range(500)]
    assert store.swap_many(groups, expected, wanted, NEVER) == [True] * 500
    store.update([*groups, groups[0]], lambda number, values: [b"%d" % number, values[1]], NEVER)
    numbers = [500, *range(1, 500)]
    assert store.get_many(keys[:500], NEVER) == [b"%d" % number for number in numbers]
    assert store.delete_many([*keys, *keys], NEVER) == 750


def test_every_round_trip_of_a_large_call_has_the_whole_timeout_but_none_outlasts_the_deadline(
    server: RedisServer,
) -> None:
    ends_ms: list[float] = []

    class Noting(ServerLink):
        def exchange(self, requests: Sequence[Request], deadline: Deadline) -> list[Reply]:
            ends_ms.append(deadline.at_ms)
            return super().exchange(requests, deadline)

    store = RedisStore(Noting(Address("127.0.0.1", server.port), Account()), prefix=PREFIX, timeout_ms=20_000)
    keys = [b"k%d" % number for number in range(1000)]
    store.get_many(keys, NEVER)
    assert len(set(ends_ms)) == 8
    ends_ms.clear()
    deadline = soon(10_000)
    store.get_many(keys, deadline)
    assert len(ends_ms) == 8
    assert max(ends_ms) == pytest.approx(deadline.at_ms, abs=1)
    store.close()


def test_an_update_that_changes_nothing_writes_nothing(server: RedisServer, store: Store) -> None:
    store.put_many([(b"a/u", b"1")], NEVER)
    server.command("config", "resetstat")
    store.update([[b"a/u", b"b/u"]], lambda number, values: values, NEVER)
    assert set(calls_of(server)) <= {"mget", "config|resetstat"}


def test_the_server_drops_an_expired_value_a_minute_late_and_keeps_what_was_written_since(
    server: RedisServer, store: Store
) -> None:
    store.put_many([(b"a", b"1"), (b"b", b"1")], NEVER, ttl_ms=1_000)
    assert all(55_000 < int(server.command("pttl", name)) <= 61_000 for name in names(server))
    store.update([[b"a"], [b"b"]], count_up, NEVER)
    assert [int(server.command("pttl", name)) for name in names(server)] == [-1, -1]


def test_stores_with_other_prefixes_do_not_see_each_other(server: RedisServer, opens: Open) -> None:
    one, two = opens(server.url, prefix="up"), opens(server.url, prefix="u*")
    one.put_many([(b"a", b"1")], NEVER)
    two.put_many([(b"a", b"2")], NEVER)
    assert [list(store.scan(b"")) for store in (one, two)] == [[(b"a", b"1")], [(b"a", b"2")]]


def test_what_others_keep_under_our_prefix_is_named_and_not_taken_for_ours(server: RedisServer, store: Store) -> None:
    store.put_many([(b"a", b"1"), (b"b", b"1")], NEVER)
    first, second = sorted(names(server), key=lambda name: name[-1])
    server.command("set", first, "short")
    server.command("del", second)
    server.command("rpush", second, "a list")
    with pytest.raises(StoreError, match="short"):
        store.get_many([b"a"], NEVER)
    assert store.swap_many([[b"a"]], [[None]], [[b"1"]], NEVER) == [False]
    with pytest.raises(StoreError, match="WRONGTYPE"):
        store.swap_many([[b"b"]], [[None]], [[b"1"]], NEVER)
    with pytest.raises(StoreError, match="WRONGTYPE"):
        list(store.scan(b"b"))


def test_groups_that_share_a_key_are_each_changed_once_when_nobody_interferes(store: Store) -> None:
    numbers: list[int] = []

    def change(number: int, values: Values) -> list[bytes]:
        numbers.append(number)
        return count_up(number, values)

    store.update([[b"a/u"], [b"a/u", b"b/u"], [b"c"], [b"b/u"]], change, NEVER)
    assert numbers == [0, 2, 1, 3]
    assert store.get_many([b"a/u", b"b/u", b"c"], NEVER) == [b"2", b"2", b"1"]


def test_a_change_that_another_writer_overtook_is_made_again_from_what_is_there_now(store: Store) -> None:
    seen: list[Values] = []

    def change(number: int, values: Values) -> list[bytes]:
        if not seen:
            store.put_many([(b"a/u", b"10")], NEVER)
        seen.append(values)
        return count_up(number, values)

    store.update([[b"a/u", b"b/u"]], change, NEVER)
    assert seen == [[None, None], [b"10", None]]
    assert store.get_many([b"a/u", b"b/u"], NEVER) == [b"11", b"1"]


def test_an_update_that_others_always_overtake_times_out_and_has_no_effect(store: Store) -> None:
    turns = iter(range(1_000_000))

    def change(number: int, values: Values) -> list[bytes]:
        store.put_many([(b"a/u", b"%d" % next(turns))], NEVER)
        return [b"never", b"never"]

    with pytest.raises(StoreTimeout):
        store.update([[b"a/u", b"b/u"]], change, soon())
    assert store.get_many([b"a/u", b"b/u"], NEVER) == [b"%d" % (next(turns) - 1), None]


def test_a_scan_reads_large_values_a_few_at_a_time(server: RedisServer, store: Store) -> None:
    store.put_many([(b"large%d/u" % number, bytes(1_500_000)) for number in range(6)], NEVER)
    server.command("config", "resetstat")
    assert [len(value) for _, value in store.scan(b"large")] == [1_500_000] * 6
    assert calls_of(server)["mget"] == 3


def test_no_more_connections_are_opened_than_allowed_and_those_without_wait(server: RedisServer) -> None:
    link = ServerLink(Address("127.0.0.1", server.port), Account(), connections=2)
    store = RedisStore(link, prefix=PREFIX, timeout_ms=20_000)
    accepted_before = int(server.command("info", "stats").split("total_connections_received:")[1].split()[0])
    with_threads(lambda number: [store.get_many([b"a"], NEVER) for _ in range(50)], threads=8)
    received = int(server.command("info", "stats").split("total_connections_received:")[1].split()[0])
    assert received - accepted_before - 1 <= 2  # one is redis-cli's
    store.close()


def test_a_caller_for_whom_no_connection_becomes_free_times_out(server: RedisServer) -> None:
    link = ServerLink(Address("127.0.0.1", server.port), Account(), connections=1)
    store = RedisStore(link, prefix=PREFIX, timeout_ms=20_000)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        connection = link._node.borrow(soon(20_000))
        held.set()
        done.wait(20)
        link._node.give_back(connection, answered=True)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        assert held.wait(20)
        with pytest.raises(StoreTimeout, match="busy"):
            store.get_many([b"a"], soon())
        done.set()
        holder.result()
    assert store.get_many([b"a"], NEVER) == [None]
    store.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_carried_over_a_fork_is_refused_and_goes_on_in_the_parent(store: Store) -> None:
    store.put_many([(b"a", b"1")], NEVER)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.get_many([b"a"], NEVER)
            os.write(sender, b"read")
        except StoreError as error:
            os.write(sender, str(error).encode())
        store.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert b"fork" in os.read(receiver, 1000)
    os.close(receiver)
    os.close(sender)
    assert store.get_many([b"a"], NEVER) == [b"1"]


def test_a_slot_that_moved_is_followed_by_every_call(cluster: RedisCluster, opens: Open) -> None:
    store = opens(cluster.url)
    store.put_many([(b"a/u", b"1"), (b"b/u", b"2"), (b"other", b"3")], NEVER)
    slot = store._names.place([b"a/u"])[0].slot
    said: list[object] = []

    def between() -> None:
        """The keys have moved, and the old owner says ASK."""
        said.append(store.get_many([b"a/u", b"b/u", b"other"], NEVER))
        said.append(store.swap_many([[b"a/u", b"b/u"]], [[b"1", b"2"]], [[b"3", b"4"]], NEVER))

    source = cluster.owner(slot)
    target = next(server for server in cluster.servers if server is not source)
    cluster.move(slot, target, between=between)
    assert said == [[b"1", b"2", b"3"], [True]]
    assert cluster.owner(slot) is target
    store.update([[b"a/u", b"b/u"]], count_up, NEVER)  # the old owner says MOVED
    assert store.get_many([b"a/u", b"b/u"], NEVER) == [b"4", b"5"]
    source.command("config", "resetstat")
    store.get_many([b"a/u", b"b/u"], NEVER)
    assert "mget" not in calls_of(source)  # it was told once
    cluster.move(slot, source)
    store.put_many([(b"c/u", b"1")], NEVER, ttl_ms=60_000)
    assert store.delete_many([b"a/u", b"b/u", b"c/u"], NEVER) == 3


def test_a_group_half_moved_times_out_and_goes_on_once_the_move_is_done(cluster: RedisCluster, opens: Open) -> None:
    store = opens(cluster.url)
    store.put_many([(b"a/u", b"1"), (b"b/u", b"2")], NEVER)
    slot = store._names.place([b"a/u"])[0].slot
    source = cluster.owner(slot)
    target = next(server for server in cluster.servers if server is not source)

    def between() -> None:
        store.delete_many([b"a/u"], NEVER)  # then put at the source alone, as an interrupted move leaves it
        name = store._names.place([b"a/u"])[0].name
        source.command("cluster", "setslot", str(slot), "stable")
        source.command("set", name.decode(), "12345678old")
        source.command("cluster", "setslot", str(slot), "migrating", target.command("cluster", "myid").strip())
        with pytest.raises(StoreTimeout):
            store.get_many([b"a/u", b"b/u"], soon())
        source.command("del", name.decode())

    cluster.move(slot, target, between=between)
    assert store.get_many([b"a/u", b"b/u"], NEVER) == [None, b"2"]
    cluster.move(slot, source)
