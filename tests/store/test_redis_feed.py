"""What anybody changes in a Redis is told by key, and nothing is believed while it cannot be."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.redis_servers import RedisCluster, RedisServer, free_port, running_server, wait_until
from tests.store.conftest import PREFIX, Open
from tests.store.suite import NEVER, count_up
from upnext.clock import Clock, ManualClock, SystemClock
from upnext.errors import SettingsError, StoreError
from upnext.settings import StoreSettings
from upnext.store.feed import Feed, NoFeed, open_feed
from upnext.store.interface import Store
from upnext.store.redis_addresses import Address
from upnext.store.redis_feed_masters import view_of
from upnext.store.redis_feed_messages import Messages, Push, Refusal, packed

NOTICED_S = 2.0  # for what takes 0.7 s by the clock
SOON_S = 5.0  # for what takes milliseconds, on a busy machine


class Heard:
    """A feed and all that it told; `refuses` makes its callables raise as often."""

    def __init__(self, url: str, clock: Clock | None = None, prefix: str = PREFIX, refuses: int = 0) -> None:
        self.keys: list[bytes] = []
        self.flushes = 0
        self.trusted_when_told: list[bool] = []
        self._refuses = refuses
        self._made = threading.Event()
        self.feed: Feed = open_feed(StoreSettings(url=url, prefix=prefix), clock, self._changed, self._everything)
        self._made.set()

    def trust(self) -> "Heard":
        wait_until(lambda: self.feed.trusted, "trust")
        return self

    def distrust(self) -> None:
        wait_until(lambda: not self.feed.trusted, "distrust")

    def told(self, *keys: bytes) -> None:
        """Waits until these keys were told, and forgets them; others are a failure."""
        with suppress(TimeoutError):
            wait_until(lambda: set(keys) <= set(self.keys), "keys")
        assert set(self.keys) == set(keys)
        self.keys.clear()

    def _changed(self, keys: Sequence[bytes]) -> None:
        self._refuse()
        self.keys += keys

    def _everything(self) -> None:
        self._made.wait(SOON_S)
        self.trusted_when_told.append(self.feed.trusted)
        self._refuse()
        self.flushes += 1

    def _refuse(self) -> None:
        if self._refuses:
            self._refuses -= 1
            raise ZeroDivisionError("on purpose")


Listen = Callable[..., Heard]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Opens feeds that are closed after the test."""
    opened: list[Heard] = []

    def listening(url: str, clock: Clock | None = None, **options: object) -> Heard:
        opened.append(Heard(url, clock, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield listening
    for heard in opened:
        heard.feed.close()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of one's own, to be killed."""
    with running_server(tmp_path / "mortal") as server:
        yield server


def name_of(server: RedisServer, key: bytes) -> str:
    (name,) = [name for name in server.command("keys", "*").split() if name.endswith("}" + key.decode())]
    return name


def test_a_change_by_another_client_is_told_by_key_whatever_it_was(
    server: RedisServer, opens: Open, listen: Listen
) -> None:
    store, heard = opens(server.url), listen(server.url).trust()
    store.put_many([(b"state/u:abc", b"1"), (b"state/p:\xc3\xa9/{}", b"1")], NEVER)
    heard.told(b"state/u:abc", b"state/p:\xc3\xa9/{}")
    store.update([[b"state/u:abc", b"vectors/u:abc"]], count_up, NEVER)
    heard.told(b"state/u:abc")
    store.delete_many([b"state/u:abc", b"state/nobody"], NEVER)
    heard.told(b"state/u:abc")
    store.put_many([(b"state/u:abc", b"1")], NEVER, ttl_ms=1_000)
    heard.told(b"state/u:abc")
    server.command("del", name_of(server, b"state/u:abc"))  # an operator
    heard.told(b"state/u:abc")
    assert heard.flushes == 1


def test_keys_of_other_families_and_of_other_prefixes_are_not_told(
    server: RedisServer, opens: Open, listen: Listen
) -> None:
    heard = listen(server.url, prefix="upnext").trust()
    for prefix in ("up", "upnext2", "other"):
        opens(server.url, prefix=prefix).put_many([(b"state/u", b"1")], NEVER)
    store = opens(server.url, prefix="upnext")
    store.put_many([(b"vectors/u", b"1"), (b"shortlist/u", b"1"), (b"states/u", b"1"), (b"x", b"1")], NEVER)
    for name in ("upnext{", "upnext{state/u", "upnext{x}state/u", "upnextstate/u"):
        server.command("set", name, "others'")
    store.put_many([(b"state/last", b"1")], NEVER)
    heard.told(b"state/last")
    assert heard.flushes == 1


def test_a_key_that_is_dropped_by_the_server_because_it_expired_is_told(
    server: RedisServer, opens: Open, listen: Listen
) -> None:
    opens(server.url).put_many([(b"state/u", b"1")], NEVER)
    heard = listen(server.url).trust()
    name = name_of(server, b"state/u")
    server.command("config", "resetstat")
    server.command("pexpire", name, "30")
    heard.told(b"state/u")
    wait_until(lambda: "expired_keys:1\n" in server.command("info", "stats").replace("\r", ""), "it to expire")
    heard.told(b"state/u")


@pytest.mark.parametrize("command", ["flushall", "flushdb"])
def test_a_flush_is_told_as_everything(server: RedisServer, opens: Open, listen: Listen, command: str) -> None:
    opens(server.url).put_many([(b"state/u", b"1")], NEVER)
    heard = listen(server.url).trust()
    server.command(command)
    wait_until(lambda: heard.flushes == 2, "the flush")
    assert heard.feed.trusted
    assert heard.keys == []


def test_everything_is_called_before_trust_begins_and_no_change_between_is_missed(
    server: RedisServer, opens: Open, listen: Listen
) -> None:
    store = opens(server.url)
    for number in range(30):
        heard = listen(server.url)
        turns = 0
        while not heard.feed.trusted:
            store.put_many([(b"state/u", b"1")], NEVER)
            turns += 1
        store.put_many([(b"state/v%d" % number, b"1")], NEVER)
        wait_until(lambda heard=heard, number=number: b"state/v%d" % number in heard.keys, "the change")
        assert heard.flushes == 1
        assert heard.trusted_when_told == [False]
        heard.feed.close()


def test_a_killed_server_ends_trust_which_begins_again_after_everything_was_called(
    mortal: RedisServer, listen: Listen, opens: Open, caplog: pytest.LogCaptureFixture
) -> None:
    heard = listen(mortal.url).trust()
    for flushes in (2, 3):
        mortal.stop()
        killed = time.monotonic()
        heard.distrust()
        assert time.monotonic() - killed < SOON_S
        mortal.start()
        heard.trust()
        assert heard.flushes == flushes
        assert heard.trusted_when_told == [False] * flushes
        opens(mortal.url).put_many([(b"state/u", b"1")], NEVER)
        heard.told(b"state/u")
    said = [record.getMessage() for record in caplog.records if record.name.startswith("upnext")]
    assert ["not heard" in line for line in said] == [True, False] * 2, said
    assert mortal.address in said[0]


def test_a_feed_may_be_opened_before_its_server_runs_and_says_once_that_it_does_not(
    tmp_path: Path, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path / "later", port=free_port())
    heard = listen(server.url)
    wait_until(lambda: heard.feed._failures >= 4, "several tries")  # type: ignore[attr-defined]
    assert not heard.feed.trusted
    assert heard.flushes == 0
    try:
        server.start()
        heard.trust()
        assert heard.flushes == 1
        wait_until(lambda: "heard again" in caplog.text, "word of it")
        assert caplog.text.count("not heard") == 1
    finally:
        server.stop()


def test_a_frozen_server_ends_trust_by_the_clock_alone_and_thawed_goes_on_without_a_flush(
    server: RedisServer, opens: Open, listen: Listen
) -> None:
    clock = ManualClock()
    heard = listen(server.url, clock).trust()
    store = opens(server.url)
    server.freeze()
    try:
        clock.advance(699)
        assert heard.feed.trusted
        clock.advance(1)
        assert not heard.feed.trusted
    finally:
        server.thaw()
    heard.trust()
    store.put_many([(b"state/u", b"1")], NEVER)
    heard.told(b"state/u")
    assert heard.flushes == 1


def test_a_frozen_server_is_noticed_in_time_and_given_up_after_two(
    server: RedisServer, opens: Open, listen: Listen
) -> None:
    heard = listen(server.url).trust()
    server.freeze()
    try:
        frozen = time.monotonic()
        heard.distrust()
        assert time.monotonic() - frozen < NOTICED_S
        wait_until(lambda: heard.feed._failures > 0, "the connection to be given up")  # type: ignore[attr-defined]
    finally:
        server.thaw()
    heard.trust()
    assert heard.flushes == 2
    assert heard.trusted_when_told == [False, False]
    opens(server.url).put_many([(b"state/u", b"1")], NEVER)
    heard.told(b"state/u")


def test_a_connection_that_an_operator_kills_is_made_anew_after_everything_was_called(
    server: RedisServer, listen: Listen
) -> None:
    heard = listen(server.url).trust()
    server.command("client", "kill", "type", "normal")
    wait_until(lambda: heard.flushes == 2, "it to be made anew")
    heard.trust()
    assert heard.trusted_when_told == [False, False]


def test_tries_come_slower_and_slower(listen: Listen) -> None:
    tries: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    listener.accept()[0].close()
                    tries.append(time.monotonic())

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        heard = listen(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        wait_until(lambda: len(tries) >= 5, "some tries")
        heard.feed.close()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(SOON_S)
    for earlier, later, pause_s in zip(tries[:4], tries[1:5], (0.01, 0.02, 0.04, 0.08), strict=True):
        assert later - earlier > pause_s
    assert heard.flushes == 0


def test_one_that_fails_to_take_a_change_is_told_everything(
    server: RedisServer, opens: Open, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    heard = listen(server.url, refuses=1).trust()
    assert heard.trusted_when_told == [False, False]
    assert heard.flushes == 1
    heard._refuses = 1
    opens(server.url).put_many([(b"state/u", b"1")], NEVER)
    wait_until(lambda: heard.flushes == 2, "everything")
    assert heard.keys == []
    assert heard.trusted_when_told[-1] is False
    assert "ZeroDivisionError" in caplog.text


def test_a_closed_feed_is_not_trusted_and_tells_nothing_more(server: RedisServer, opens: Open, listen: Listen) -> None:
    before = threading.active_count()
    heard = listen(server.url).trust()
    heard.feed.close()
    assert not heard.feed.trusted
    assert threading.active_count() == before
    opens(server.url).put_many([(b"state/u", b"1")], NEVER)
    server.command("flushall")
    assert heard.keys == []
    assert heard.flushes == 1
    heard.feed.close()


def test_a_user_needs_few_rights_and_one_without_them_is_never_trusted(
    tmp_path: Path, opens: Open, listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(tmp_path / "guarded", "--requirepass", "se same") as server:
        cli = ("--no-auth-warning", "-a", "se same", "acl", "setuser")
        rights = ("resetkeys", "%R~upnext{*", "-@all", "+ping", "+client|tracking")
        server.command(*cli, "ear", "on", ">hush", *rights)
        server.command(*cli, "deaf", "on", ">hush", *rights, "-client|tracking")
        heard = listen(f"redis://ear:hush@{server.address}", prefix="upnext").trust()
        opens(f"redis://:se%20same@{server.address}", prefix="upnext").put_many([(b"state/u", b"1")], NEVER)
        heard.told(b"state/u")
        for user, complaint in (("deaf:hush", "CLIENT TRACKING"), ("ear:wrong", "check user and password")):
            caplog.clear()
            deaf = listen(f"redis://{user}@{server.address}", prefix="upnext")
            wait_until(lambda deaf=deaf: deaf.feed._failures >= 2, "two tries")
            assert not deaf.feed.trusted
            assert deaf.flushes == 0
            assert complaint in caplog.text
            assert "hush" not in caplog.text
            assert "wrong" not in caplog.text


def test_changes_are_told_over_tls_and_in_another_database(
    tls_server: tuple[str, Path], server: RedisServer, opens: Open, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls_server
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    keys = [b"state/u%d" % number for number in range(5_000)]
    for place in (url, server.url + "/3"):
        heard = listen(place).trust()
        opens(place).put_many([(key, b"1") for key in keys], NEVER)
        heard.told(*keys)


def keys_on(cluster: RedisCluster, store: Store) -> list[bytes]:
    """One key on each member of the cluster, in its order."""
    found: dict[int, bytes] = {}
    for number in range(1000):
        key = b"state/u%d" % number
        slot = store._names.place([key])[0].slot  # type: ignore[attr-defined]
        found.setdefault(cluster.servers.index(cluster.owner(slot)), key)
        if len(found) == len(cluster.servers):
            return [found[member] for member in range(len(cluster.servers))]
    raise AssertionError("1000 keys should be on all members")


def test_changes_on_every_master_of_a_cluster_are_told_and_a_flush_of_one_is_everything(
    cluster: RedisCluster, opens: Open, listen: Listen
) -> None:
    store, heard = opens(cluster.url), listen(cluster.servers[2].url.replace("redis:", "redis+cluster:")).trust()
    keys = keys_on(cluster, store)
    for key in keys:
        store.put_many([(key, b"1")], NEVER)
        heard.told(key)
    cluster.servers[1].command("flushall")
    wait_until(lambda: heard.flushes == 2, "the flush")


def test_a_slot_that_moves_ends_trust_until_its_new_owner_is_heard(
    cluster: RedisCluster, opens: Open, listen: Listen
) -> None:
    store, heard = opens(cluster.url), listen(cluster.url).trust()
    key = keys_on(cluster, store)[0]
    slot = store._names.place([key])[0].slot  # type: ignore[attr-defined]
    store.put_many([(key, b"1")], NEVER)
    heard.told(key)

    def between() -> None:
        """The key has moved, which both masters tell, and the old owner sends those who write it to the new."""
        heard.told(key)
        store.put_many([(key, b"2")], NEVER)
        heard.told(key)

    source, target = cluster.servers[0], cluster.servers[1]
    cluster.move(slot, target, between=between)
    wait_until(lambda: heard.flushes >= 2, "the move to be noticed")
    heard.trust()
    store.put_many([(key, b"3")], NEVER)
    heard.told(key)
    cluster.move(slot, source)


def test_a_frozen_or_killed_master_ends_trust_until_it_is_back(
    cluster: RedisCluster, opens: Open, listen: Listen
) -> None:
    store, heard = opens(cluster.url), listen(cluster.url).trust()
    keys = keys_on(cluster, store)
    member = cluster.servers[0]
    member.freeze()
    try:
        frozen = time.monotonic()
        heard.distrust()
        assert time.monotonic() - frozen < NOTICED_S
    finally:
        member.thaw()
    heard.trust()
    member.stop()
    try:
        heard.distrust()
        wait_until(lambda: heard.feed._failures >= 3, "some tries")  # type: ignore[attr-defined]
        assert not heard.feed.trusted
    finally:
        member.start()
        wait_until(lambda: "cluster_state:ok" in member.command("cluster", "info"), "the member to join again")
    heard.trust()
    wait_until(lambda: heard.feed.trusted and not heard.keys, "quiet")
    for key in keys:
        store.put_many([(key, b"1")], NEVER)
        heard.told(key)
    assert heard.trusted_when_told == [False] * heard.flushes


def test_without_a_url_nobody_need_tell_and_redis_is_not_imported() -> None:
    assert isinstance(open_feed(StoreSettings(), SystemClock(), print, print), NoFeed)
    code = (
        "import sys; from upnext.settings import StoreSettings; from upnext.store.feed import open_feed\n"
        "feed = open_feed(StoreSettings(), None, print, print); assert feed.trusted; feed.close()\n"
        "assert 'redis' not in sys.modules and 'ssl' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("settings", [StoreSettings(url="memcached://one"), StoreSettings(url="redis://x", prefix="{")])
def test_settings_that_no_store_takes_are_refused(settings: StoreSettings) -> None:
    with pytest.raises(SettingsError):
        open_feed(settings, None, print, print)


def test_the_protocol_is_read_in_whatever_pieces_it_comes() -> None:
    said = (
        b">2\r\n$10\r\ninvalidate\r\n*2\r\n$3\r\na\r\n\r\n$0\r\n\r\n+PONG\r\n>2\r\n+invalidate\r\n_\r\n:-7\r\n"
        b"-ERR no\r\n!5\r\nERR x\r\n=8\r\ntxt:text\r\n%1\r\n+k\r\n#t\r\n*-1\r\n$-1\r\n"
        b"|1\r\n+a\r\n+b\r\n,1.5\r\n~1\r\n(123\r\n"
    )
    meant = [[b"invalidate", [b"a\r\n", b""]], b"PONG", [b"invalidate", None], -7, "ERR no", "ERR x", b"text"]
    meant += [[b"k", True], None, None, b"1.5", [b"123"]]
    for size in (1, 2, 3, 7, 1000):
        messages = Messages()
        found = [value for at in range(0, len(said), size) for value in messages.of(said[at : at + size])]
        assert found == meant
        assert [type(value) for value in found[:6]] == [Push, bytes, Push, int, Refusal, Refusal]
    assert Messages().of(packed([(b"PING", b"")])) == [[b"PING", b""]]


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n", b"\x16\x03", b"$1\r\nabc:1\r\n", b"$x\r\n", b"*1\r\n?"]
)
def test_what_is_not_the_protocol_is_refused(said: bytes) -> None:
    with pytest.raises(StoreError, match="not the protocol"):
        Messages().of(said)


def test_who_may_take_writes_in_a_cluster_is_read_from_what_a_member_says() -> None:
    said = b"""\
a1 10.0.0.1:7000@17000,one.example master - 0 1 7 connected 0-99 200
a2 :7001@17001 myself,slave a1 0 1 7 connected
a3 fe80::1:7002@17002 master,fail? - 0 1 7 disconnected 100-199 [300->-a1]
a4 10.0.0.4:7003@17003 master - 0 1 7 connected
a5 10.0.0.5:7004@17004 master,fail - 0 1 7 disconnected
a6 :0@0 master,noaddr - 0 1 7 disconnected 400-500
a7 10.0.0.7:7006@17006 handshake - 0 1 7 connected
"""
    view = view_of(said, Address("10.0.0.2", 9))
    assert view.source == Address("10.0.0.2", 7001)
    assert dict(view.masters) == {
        Address("10.0.0.1", 7000): ("0-99", "200"),
        Address("fe80::1", 7002): ("100-199",),
        Address("10.0.0.4", 7003): (),
    }
    with pytest.raises(StoreError, match="is it a cluster"):
        view_of(Refusal("ERR This instance has cluster support disabled"), Address("one", 1))
