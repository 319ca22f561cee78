"""Real worker processes on a real port: what one worker acknowledged, every worker shows."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TrainedHome
from tests.redis_servers import free_port, running_cluster

_PATIENCE_S = 90


def ask(url: str, body: Any = None) -> Any:
    """One request on a connection of its own, so that the kernel picks a worker anew."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=30) as response:
        return response.read()


def ready(url: str) -> bool:
    try:
        ask(f"{url}/readyz")
    except OSError:
        return False
    return True


@pytest.fixture(params=["lmdb", "redis cluster"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "lmdb":
        yield ""
    else:
        with running_cluster(tmp_path) as cluster:
            yield cluster.url


@pytest.fixture
def two_workers(trained_home: TrainedHome, tmp_path: Path, store_url: str) -> Iterator[str]:
    home, port = trained_home.copy(tmp_path / "home"), free_port()
    command = [sys.executable, "-m", "upnext", "serve", "--home", str(home), "--port", str(port), "--workers", "2"]
    command += ["--set", "budget.full_ms=150", "--set", f"store.url={store_url}"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    url, give_up = f"http://127.0.0.1:{port}", time.monotonic() + _PATIENCE_S
    try:
        while not ready(url):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < give_up, "the server did not become ready"
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(_PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_a_click_taken_by_one_worker_shows_in_the_slates_of_all(two_workers: str) -> None:
    event = {"action": "click", "user_id": "shared", "item_id": "i00003"}
    for number in range(1, 6):
        assert json.loads(ask(f"{two_workers}/v1/events", event))["accepted"] == 1
        answers = [json.loads(ask(f"{two_workers}/v1/recommend", {"user_id": "shared"})) for _ in range(6)]
        # A slate from before its state was read (a deadline missed on a busy machine) says so.
        assert {a["state_version"] for a in answers if a["tier"] != "popular"} <= {number}
        assert any(a["tier"] != "popular" for a in answers)
        assert all(len(a["items"]) == 20 for a in answers)
    # Both workers count into one exposition.
    metrics = ask(f"{two_workers}/metrics").decode()
    total = sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("upnext_requests_total{"))
    assert total == 30
    assert 'upnext_events_total{outcome="accepted"} 5.0' in metrics
