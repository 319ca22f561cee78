"""The store that the settings name is opened; what cannot be one is refused with the forms that can."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.conftest import Open
from tests.store.suite import NEVER
from upnext.clock import SystemClock
from upnext.errors import SettingsError, StoreError
from upnext.settings import StoreSettings
from upnext.store.lmdb_store import LmdbStore
from upnext.store.opening import RedisUrl, open_store, parse_url


def test_without_a_url_state_is_in_the_home_and_redis_is_not_imported(tmp_path: Path) -> None:
    store = open_store(tmp_path, StoreSettings(), SystemClock())
    assert isinstance(store, LmdbStore)
    store.put_many([(b"a", b"1")], NEVER)
    store.close()
    assert (tmp_path / "state" / "data.mdb").is_file()
    code = (
        "import sys; from pathlib import Path; from upnext.settings import StoreSettings\n"
        "from upnext.store.opening import open_store; from upnext.clock import SystemClock\n"
        "store = open_store(Path(sys.argv[1]), StoreSettings(), SystemClock())\n"
        "assert 'redis' not in sys.modules and 'ssl' not in sys.modules; store.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://one", RedisUrl("redis", None, None, [("one", 6379)], 0)),
        ("redis://one:7000/", RedisUrl("redis", None, None, [("one", 7000)], 0)),
        ("rediss://10.0.0.1:7000/12", RedisUrl("rediss", None, None, [("10.0.0.1", 7000)], 12)),
        ("redis://[::1]:7000", RedisUrl("redis", None, None, [("::1", 7000)], 0)),
        ("redis://ANA:p%40s%2Fs:w@one", RedisUrl("redis", "ANA", "p@s/s:w", [("one", 6379)], 0)),
        ("redis://:secret@one", RedisUrl("redis", None, "secret", [("one", 6379)], 0)),
        (
            "redis+cluster://ANA:secret@one:1,two,[fe80::1]:3",
            RedisUrl("redis+cluster", "ANA", "secret", [("one", 1), ("two", 6379), ("fe80::1", 3)], 0),
        ),
    ],
)
def test_a_url_says_where_as_whom_and_in_which_database(url: str, meant: RedisUrl) -> None:
    assert parse_url(url) == meant


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("memcached://one", "unknown kind memcached"),
        ("one:6379", "unknown kind"),
        ("redis://", "HOST:PORT"),
        ("redis://one:port", "HOST:PORT"),
        ("redis://one:0", "HOST:PORT"),
        ("redis://one:65536", "HOST:PORT"),
        ("redis://one:7000/db", "database's number"),
        ("redis://one:7000/1?timeout=3", "database's number"),
        ("redis://one:7000,two:7000", r"redis\+cluster://"),
        ("redis+cluster://one:7000/1", "only database 0"),
        ("redis+cluster://one:7000,", "HOST:PORT"),
        ("redis://ANA:secret@one:port", "HOST:PORT"),
        ("secret@redis://one", "unknown kind"),
    ],
)
def test_what_is_no_url_of_a_store_is_refused_without_repeating_the_password(
    tmp_path: Path, url: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint) as raised:
        open_store(tmp_path, StoreSettings(url=url), SystemClock())
    assert "secret" not in str(raised.value)


def test_a_prefix_with_braces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="braces"):
        open_store(tmp_path, StoreSettings(url="redis://one", prefix="{x}"), SystemClock())


def test_over_tls_the_server_must_show_a_certificate_that_is_trusted(
    tls_server: tuple[str, Path], opens: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = tls_server
    with pytest.raises(StoreError, match="certificate"):
        opens(url).get_many([b"a"], NEVER)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    store = opens(url)
    store.put_many([(b"a", bytes(1_000_000)), (b"b", b"2")], NEVER)
    assert store.get_many([b"b", b"a"], NEVER) == [b"2", bytes(1_000_000)]
    assert store.get_many([b"b"], NEVER) == [b"2"]
