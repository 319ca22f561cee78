"""A Redis that freezes, dies, drips or lets nobody in costs a call its deadline, and never gives a wrong answer."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.redis_servers import RedisCluster, RedisServer, free_port, running_server, wait_until
from tests.store.conftest import Open
from tests.store.suite import NEVER, count_up
from upnext.clock import Deadline, SystemClock
from upnext.errors import StoreError, StoreTimeout
from upnext.store.interface import Store

GENEROUS_S = 5.0  # for a call that has a tenth of a second
Serve = Callable[[socket.socket, threading.Event], None]


def soon(budget_ms: float = 100) -> Deadline:
    return Deadline.after(SystemClock(), budget_ms)


def calls(store: Store, deadline: Deadline) -> list[Callable[[], object]]:
    return [
        lambda: store.get_many([b"a"], deadline),
        lambda: store.put_many([(b"a", b"late")], deadline),
        lambda: store.put_many([(b"a", b"late")], deadline, ttl_ms=1),
        lambda: store.delete_many([b"x"], deadline),
        lambda: store.update([[b"a"]], count_up, deadline),
        lambda: store.swap_many([[b"a"]], [[b"x"]], [[b"y"]], deadline),
        lambda: store.compare_and_set(b"a", b"x", b"y", deadline),
    ]


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of one's own, to be killed."""
    with running_server(tmp_path / "mortal") as server:
        yield server


@contextmanager
def frozen(server: RedisServer) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@contextmanager
def pretending(serve: Serve) -> Iterator[str]:
    """The url of a server that does to every connection what `serve` does, until told to stop."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    serve(connection, stop)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("connected", [True, False])
def test_a_frozen_server_costs_a_call_its_deadline(
    server: RedisServer, opens: Open, number: int, connected: bool
) -> None:
    store = opens(server.url)
    if connected:
        store.get_many([b"a"], NEVER)
    with frozen(server):
        started = time.monotonic()
        with pytest.raises(StoreTimeout, match=server.address):
            calls(store, soon(50))[number]()
        assert time.monotonic() - started < GENEROUS_S


def test_where_no_deadline_is_near_the_timeout_of_the_settings_ends_a_call(server: RedisServer, opens: Open) -> None:
    store = opens(server.url, timeout_ms=30)
    scan = store.scan(b"")
    with frozen(server):
        for call in [*calls(store, NEVER), *calls(store, soon(60_000)), lambda: next(scan)]:
            started = time.monotonic()
            with pytest.raises(StoreTimeout):
                call()
            assert time.monotonic() - started < GENEROUS_S


def test_after_a_timeout_no_reply_is_taken_for_another(server: RedisServer, opens: Open) -> None:
    store = opens(server.url)
    store.put_many([(b"k%d" % number, b"v%d" % number) for number in range(20)], NEVER)
    for number in range(0, 20, 2):
        with frozen(server), pytest.raises(StoreTimeout):
            store.get_many([b"k%d" % number], soon(20))
        assert store.get_many([b"k%d" % (number + 1)], NEVER) == [b"v%d" % (number + 1)]


def test_a_change_whose_answer_came_too_late_is_whole_or_absent(server: RedisServer, opens: Open) -> None:
    store = opens(server.url)
    store.put_many([(b"a/u", b"1"), (b"b/u", b"1")], NEVER)
    with frozen(server), pytest.raises(StoreTimeout):
        store.swap_many([[b"a/u", b"b/u"]], [[b"1", b"1"]], [[b"2", b"2"]], soon(20))
    left, right = store.get_many([b"a/u", b"b/u"], NEVER)
    assert left == right


def test_a_killed_server_is_a_store_error_and_works_again_once_restarted(mortal: RedisServer, opens: Open) -> None:
    store = opens(mortal.url)
    store.swap_many([[b"a"]], [[None]], [[b"1"]], NEVER)
    mortal.stop()
    for call in calls(store, NEVER):
        with pytest.raises(StoreError, match=f"{mortal.address} cannot be used") as raised:
            call()
        assert not isinstance(raised.value, StoreTimeout)
    mortal.start()
    assert store.get_many([b"a"], NEVER) == [None]
    mortal.restart()  # with connections idle, which it closed, and without the script
    assert store.swap_many([[b"a"]], [[None]], [[b"2"]], NEVER) == [True]
    assert store.get_many([b"a"], NEVER) == [b"2"]


def test_a_store_may_be_opened_before_its_server_runs(tmp_path: Path, opens: Open) -> None:
    server = RedisServer(tmp_path / "later", port=free_port())
    store = opens(server.url)
    with pytest.raises(StoreError, match="see that it runs"):
        store.get_many([b"a"], NEVER)
    try:
        server.start()
        assert store.get_many([b"a"], NEVER) == [None]
    finally:
        server.stop()


def silence(connection: socket.socket, stop: threading.Event) -> None:
    stop.wait(20)


def drip(connection: socket.socket, stop: threading.Event) -> None:
    """A reply of a million bytes, one at a time, so that no single read waits for long; it breaks off in the end."""
    connection.recv(1000)
    connection.sendall(b"*1\r\n$1000000\r\n")
    with suppress(OSError):
        for _ in range(1000):
            if stop.wait(0.005):
                return
            connection.sendall(b"x")


def half_a_reply(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(1000)
    connection.sendall(b"*1\r\n$100\r\nhalf")


def nonsense(connection: socket.socket, stop: threading.Event) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("serve", [silence, drip])
def test_a_server_that_answers_too_slowly_or_never_costs_a_call_its_deadline(opens: Open, serve: Serve) -> None:
    with pretending(serve) as url:
        started = time.monotonic()
        with pytest.raises(StoreTimeout):
            opens(url).get_many([b"a"], soon())
        assert time.monotonic() - started < GENEROUS_S


def test_a_server_that_reads_nothing_costs_a_large_write_its_deadline(opens: Open) -> None:
    with pretending(silence) as url, pytest.raises(StoreTimeout):
        opens(url).put_many([(b"a", bytes(16 * 1024 * 1024))], soon(300))


@pytest.mark.parametrize("serve", [half_a_reply, nonsense])
def test_a_connection_that_breaks_off_or_speaks_another_language_is_a_store_error(opens: Open, serve: Serve) -> None:
    with pretending(serve) as url, pytest.raises(StoreError, match="cannot be used") as raised:
        opens(url).get_many([b"a"], NEVER)
    assert not isinstance(raised.value, StoreTimeout)


def test_a_slow_look_up_of_a_name_costs_a_call_its_deadline_and_one_thread(
    opens: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, real = threading.Event(), socket.getaddrinfo

    def slow(host: str, port: int, **options: int) -> object:
        if not options.get("flags"):
            answer.wait(20)
        return real(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    store = opens(f"redis://localhost:{free_port()}")
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(StoreTimeout):
            store.get_many([b"a"], soon(20))
    assert threading.active_count() == before + 1
    answer.set()
    wait_until(lambda: threading.active_count() == before, "the look-up to end")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 80 + ".example"])
def test_an_unknown_name_is_a_store_error_that_says_so(opens: Open, host: str) -> None:
    with pytest.raises(StoreError, match=host):
        opens(f"redis://{host}:6379").get_many([b"a"], NEVER)


def test_a_full_server_refuses_a_put_whole_and_still_reads(mortal: RedisServer, opens: Open) -> None:
    store = opens(mortal.url)
    store.put_many([(b"a/u", b"1")], NEVER)
    mortal.command("config", "set", "maxmemory", "1")
    for ttl_ms in (None, 1):
        with pytest.raises(StoreError, match="more memory"):
            store.put_many([(b"a/u", b"2"), (b"b/u", b"2")], NEVER, ttl_ms=ttl_ms)
    assert store.get_many([b"a/u", b"b/u"], NEVER) == [b"1", None]


def test_one_is_let_in_with_the_password_alone_and_no_error_repeats_it(tmp_path: Path, opens: Open) -> None:
    with running_server(tmp_path / "guarded", "--requirepass", "sesame open@") as server:
        place = server.address
        opens(f"redis://:sesame%20open%40@{place}/3").put_many([(b"a", b"1")], NEVER)
        assert opens(f"redis://default:sesame%20open%40@{place}/3").get_many([b"a"], NEVER) == [b"1"]
        assert opens(f"redis://:sesame%20open%40@{place}").get_many([b"a"], NEVER) == [None]
        for url in (f"redis://:hush@{place}", f"redis://{place}"):
            with pytest.raises(StoreError, match="check user and password") as raised:
                opens(url).get_many([b"a"], NEVER)
            assert "hush" not in str(raised.value)
        with pytest.raises(StoreError, match="DB index"):
            opens(f"redis://:sesame%20open%40@{place}/99").get_many([b"a"], NEVER)


def keys_on(cluster: RedisCluster, store: Store) -> list[bytes]:
    """One key on each member of the cluster, in its order."""
    found: dict[int, bytes] = {}
    for number in range(1000):
        slot = store._names.place([b"k%d" % number])[0].slot
        found.setdefault(cluster.servers.index(cluster.owner(slot)), b"k%d" % number)
        if len(found) == len(cluster.servers):
            return [found[member] for member in range(len(cluster.servers))]
    raise AssertionError("1000 keys should be on all members")


def test_a_frozen_member_costs_calls_that_need_it_their_deadline_and_the_others_little(
    cluster: RedisCluster, opens: Open
) -> None:
    store = opens(cluster.url)
    keys = keys_on(cluster, store)
    store.put_many([(key, key) for key in keys], NEVER)
    with frozen(cluster.servers[0]):
        for _ in range(3):
            with pytest.raises(StoreTimeout):
                store.get_many(keys, soon())
            assert store.get_many(keys[1:], soon(600)) == keys[1:]
        fresh = opens(cluster.url)  # must learn who owns what from another member
        assert fresh.get_many(keys[1:], soon(600)) == keys[1:]
    assert store.get_many(keys, NEVER) == keys
    assert fresh.get_many(keys[::-1], NEVER) == keys[::-1]


def test_a_killed_member_takes_its_own_keys_alone_until_it_is_back(cluster: RedisCluster, opens: Open) -> None:
    store = opens(cluster.url)
    keys = keys_on(cluster, store)
    store.put_many([(key, key) for key in keys], NEVER)
    member = cluster.servers[2]
    member.stop()
    try:
        with pytest.raises(StoreError, match=member.address):
            store.get_many(keys, NEVER)
        assert store.get_many(keys[:2], NEVER) == keys[:2]
    finally:
        member.start()
        wait_until(lambda: "cluster_state:ok" in member.command("cluster", "info"), "the member to join again")
    assert store.get_many(keys, NEVER) == [*keys[:2], None]
    store.put_many([(key, b"again") for key in keys], NEVER)
    assert dict(store.scan(b"k")) == dict.fromkeys(keys, b"again")


def test_after_a_failure_the_new_owner_of_a_slot_is_found(cluster: RedisCluster, opens: Open) -> None:
    store = opens(cluster.url)
    lost, heir, witness = cluster.servers
    key = keys_on(cluster, store)[0]
    slot = str(store._names.place([key])[0].slot)
    assert store.get_many([key], NEVER) == [None]
    lost_id, heir_id = lost.command("cluster", "myid").strip(), heir.command("cluster", "myid").strip()
    lost.stop()
    try:
        heir.command("cluster", "setslot", slot, "importing", lost_id)
        for server in (heir, witness):
            server.command("cluster", "setslot", slot, "node", heir_id)
        with pytest.raises(StoreError, match=lost.address):
            store.get_many([key], NEVER)
        store.put_many([(key, b"inherited")], NEVER)
        assert store.get_many([key], NEVER) == [b"inherited"]
    finally:
        lost.start()
        wait_until(lambda: "cluster_state:ok" in lost.command("cluster", "info"), "the member to join again")
        wait_until(lambda: cluster.owner(int(slot)) is heir, "it to learn who took its slot")
        cluster.move(int(slot), lost)


def test_a_single_server_is_no_cluster_and_said_to_be_none(server: RedisServer, opens: Open) -> None:
    with pytest.raises(StoreError, match="is it a cluster"):
        opens(server.url.replace("redis://", "redis+cluster://")).get_many([b"a"], NEVER)


def test_a_member_addressed_as_a_single_server_is_named_a_cluster(cluster: RedisCluster, opens: Open) -> None:
    store = opens(cluster.servers[0].url)
    with pytest.raises(StoreError, match=r"redis\+cluster://"):
        store.get_many([b"k%d" % number for number in range(50)], NEVER)
