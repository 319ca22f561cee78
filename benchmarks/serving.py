"""`upnext serve` over a home for as long as a block runs, on whatever cores are free; knows nothing of requests."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pinned_servers import free_port, wait_until_answered

_STOP_S = 60.0


@contextmanager
def serving(home: Path, log: Path, *, workers: int = 2, settings: Sequence[str] = ()) -> Iterator[str]:
    """The URL of a server that is ready. UpnextError with the end of its log when it does not become so."""
    port = free_port()
    command = [sys.executable, "-m", "upnext", "serve", "--home", str(home), "--port", str(port)]
    command += ["--workers", str(workers), *(part for setting in settings for part in ("--set", setting))]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_answered(urllib.request.Request(f"{url}/readyz"), process, log)
        yield url
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
