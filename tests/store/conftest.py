"""One Redis and one Redis Cluster for all tests of stores, empty at the start of each."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.redis_servers import RedisCluster, RedisServer, free_port, running_cluster, running_server
from upnext.clock import Clock, SystemClock
from upnext.settings import StoreSettings
from upnext.store.interface import Store
from upnext.store.opening import open_store

PREFIX = "te[s]t*?"  # with what Redis' patterns take for special
Open = Callable[..., Store]  # url, clock; timeout_ms, prefix


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with running_cluster(tmp_path_factory.mktemp("redis-cluster")) as cluster:
        yield cluster


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.command("flushall")
    return redis_server


@pytest.fixture
def cluster(redis_cluster: RedisCluster) -> RedisCluster:
    for member in redis_cluster.servers:
        member.command("flushall")
    return redis_cluster


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The url of a server of one's own that speaks TLS, and its certificate, which nobody vouches for."""
    key, certificate, port = tmp_path / "key.pem", tmp_path / "certificate.pem", free_port()
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    make += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(make, check=True, capture_output=True)
    tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    with running_server(tmp_path / "tls", *tls, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"):
        yield f"rediss://127.0.0.1:{port}", certificate


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Open]:
    """Opens stores that are closed after the test."""
    stores: list[Store] = []

    def opened(url: str, clock: Clock | None = None, *, timeout_ms: float = 20_000, prefix: str = PREFIX) -> Store:
        settings = StoreSettings(url=url, prefix=prefix, timeout_ms=timeout_ms)
        stores.append(open_store(tmp_path, settings, clock or SystemClock()))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()
