"""`upnext serve` as processes to start, kill and stop; knows nothing of what is asked of them."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from tests.redis_servers import free_port

_PATIENCE_S = 90.0


class ServerProcess:
    """A server of several workers over one home, always on the same port; its processes are a group of their own.

    What it writes goes to `home`.log beside the home.
    """

    def __init__(self, home: Path, *, workers: int = 2, settings: Sequence[str] = ()) -> None:
        self.home = home
        self.port = free_port()
        self.log = home.with_suffix(".log")
        self._workers = workers
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns once a worker is ready. Raises `AssertionError` with the end of its log when none becomes so."""
        command = [sys.executable, "-m", "upnext", "serve", "--home", str(self.home), "--port", str(self.port)]
        command += ["--workers", str(self._workers)]
        for setting in self._settings:
            command += ["--set", setting]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            command, stdout=self._output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        give_up = time.monotonic() + _PATIENCE_S
        while not self._ready():
            assert self._process.poll() is None, f"the server ended; its log ends: {self.log_end()}"
            assert time.monotonic() < give_up, f"the server is not ready; its log ends: {self.log_end()}"
            time.sleep(0.02)

    def workers(self) -> list[int]:
        """Process ids of the workers alive (Linux)."""
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(child) for child in children if _is_worker(int(child))]

    def kill_worker(self, number: int) -> int:
        """SIGKILL to one worker, counted around; its process id. Its parent starts another."""
        while not (workers := self.workers()):
            time.sleep(0.01)
        victim = workers[number % len(workers)]
        os.kill(victim, signal.SIGKILL)
        return victim

    def kill_all(self) -> None:
        """SIGKILL to the parent and all workers at once; returns when the parent is gone."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._closed()

    def stop(self) -> int:
        """Ends the server as an operator would; its exit status."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(_PATIENCE_S)
        finally:
            self.kill_all()

    def log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2_000:]

    def _closed(self) -> None:
        self._process = None
        if self._output is not None:
            self._output.close()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _is_worker(process_id: int) -> bool:
    """Not Python's tracker of shared resources, which is a child too."""
    try:
        return b"spawn_main" in Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:
        return False
