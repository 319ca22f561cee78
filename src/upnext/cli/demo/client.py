"""A running server as the demo sees it: started, asked over HTTP, stopped; knows nothing but its URL and process."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upnext.errors import UpnextError

_START_S = 60.0
_STOP_S = 15.0


class ServerClient:
    """Asks one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def recommend(self, user_id: str, k: int) -> dict[str, Any]:
        return self._ask("/v1/recommend", {"user_id": user_id, "k": k, "explain": True, "budget_ms": 200})

    def click(self, user_id: str, item_id: str) -> dict[str, Any]:
        return self._ask("/v1/events", {"action": "click", "user_id": user_id, "item_id": item_id})

    def popular(self, genre: str, k: int) -> dict[str, Any]:
        return self._ask(f"/v1/popular?k={k}&genre={urllib.parse.quote(genre)}", None)

    def ready(self) -> bool:
        try:
            self._ask("/readyz", None)
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _ask(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=10) as response:
            answer: dict[str, Any] = json.loads(response.read())
        return answer


@contextmanager
def running_server(home: Path, port: int) -> Iterator[tuple[ServerClient, "subprocess.Popen[bytes]"]]:
    """`upnext serve` over `home`, ready when the body begins, stopped when it ends."""
    command = [sys.executable, "-m", "upnext", "serve", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(command)
    client = ServerClient(f"http://127.0.0.1:{port}")
    try:
        give_up = time.monotonic() + _START_S
        while not client.ready():
            if process.poll() is not None or time.monotonic() > give_up:
                raise UpnextError(
                    f"the server on port {port} did not become ready; run `{' '.join(command[2:])}` to see why"
                )
            time.sleep(0.1)
        yield client, process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
