"""Server processes on one core, paused while another is measured; knows nothing of what they serve."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from upnext.errors import UpnextError

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Server:
    """All processes of one server under test, and where it listens."""

    name: str
    url: str
    processes: Sequence[subprocess.Popen[bytes]]

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes:
            os.killpg(process.pid, number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process_on_core(
    core: int, command: Sequence[str], log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, it and its children on `core`; killed at the end, what it said kept in `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def plain_service(peer: Path, core: int, n_items: int, logs: Path) -> Iterator[Server]:
    """The hand-made service in `peer` and its redis-server, answering; UpnextError when either does not start."""
    redis_server = shutil.which("redis-server")
    assert redis_server is not None, "checked before"
    redis_port, port = free_port(), free_port()
    redis = [redis_server, "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", str(peer.parent), f"{peer.stem}:app", "--port", str(port)]
    uvicorn += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    with ExitStack() as stack:
        store = stack.enter_context(process_on_core(core, redis, logs / "redis.log"))
        log = logs / "plain_service.log"
        web = stack.enter_context(process_on_core(core, uvicorn, log, ITEMS=str(n_items), REDIS_PORT=str(redis_port)))
        url = f"http://127.0.0.1:{port}"
        body = b'{"user_id": "user0", "k": 20}'
        request = urllib.request.Request(f"{url}/v1/recommend", body, {"Content-Type": "application/json"})
        wait_until_answered(request, web, log)
        yield Server("plain service", url, (store, web))


@contextmanager
def upnext_server(home: Path, core: int, logs: Path) -> Iterator[Server]:
    """`upnext serve` with one worker over `home`, ready; UpnextError when it does not start."""
    port, log = free_port(), logs / "upnext.log"
    command = [str(Path(sys.executable).with_name("upnext")), "serve", "--home", str(home)]
    command += ["--workers", "1", "--port", str(port)]
    with process_on_core(core, command, log) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_answered(urllib.request.Request(f"{url}/readyz"), process, log)
        yield Server("upnext", url, (process,))


def wait_until_answered(
    request: urllib.request.Request, process: subprocess.Popen[bytes], log: Path, patience_s: float = 300.0
) -> None:
    """Ask until the answer is a 200. Raises UpnextError with the end of the log when that does not come."""
    for _ in range(int(patience_s / 0.25)):
        try:
            with urllib.request.urlopen(request, timeout=5.0) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        if process.poll() is not None:
            break
        time.sleep(0.25)
    end = log.read_text(errors="replace")[-2_000:]
    raise UpnextError(f"{request.full_url} does not answer (exit status {process.poll()}); its log ends with:\n{end}")
