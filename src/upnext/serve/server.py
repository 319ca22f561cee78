"""The server processes: how many, with which settings, counting together."""

import logging
import os
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
import uvicorn
from starlette.types import ASGIApp

from upnext.clock import SystemClock
from upnext.funnel.guard import shared_guard
from upnext.metrics.logs import set_up_logs
from upnext.metrics.tracing import Tracing
from upnext.metrics.workers import share_between_workers
from upnext.serve.accept import WorkerCounts, shared_counts
from upnext.serve.access import check_listen
from upnext.serve.keys import KEYS_FILE, Keys
from upnext.serve.rate_limit import shared_limits
from upnext.serve.supervisor import Supervisor
from upnext.serve.worker import WorkerServer
from upnext.settings import ServeSettings, Settings
from upnext.state.changes import shared_changes

_HOME, _SETTINGS, _LIMITS = "_UPNEXT_WORKER_HOME", "_UPNEXT_WORKER_SETTINGS", "_UPNEXT_WORKER_LIMITS"
_GUARD, _CHANGES, _COUNTS = "_UPNEXT_WORKER_GUARD", "_UPNEXT_WORKER_CHANGES", "_UPNEXT_WORKER_COUNTS"
_log = logging.getLogger(__name__)
# One thread in every native library of a worker: the workers are the parallelism.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_server(home: Path, settings: Settings) -> None:
    """Serves until told to stop (SIGINT, SIGTERM); workers that die are started again.

    Raises `SettingsError` when it would listen beyond this machine without a single key, and `SystemExit` when it
    cannot start.
    """
    serve = settings.serve
    check_listen(serve.host, Keys(home / KEYS_FILE, SystemClock()))
    for variable in _THREADS:
        os.environ[variable] = "1"
    os.environ[_HOME] = str(home.resolve())
    os.environ[_SETTINGS] = msgspec.json.encode(settings).decode()
    several = serve.workers > 1
    with ExitStack() as shared:
        for variable, made in ((_LIMITS, shared_limits), (_GUARD, shared_guard), (_CHANGES, shared_changes)):
            os.environ[variable] = str(shared.enter_context(made()))
        if several:
            shared.enter_context(share_between_workers())
        listener = shared.enter_context(_config(serve).bind_socket())
        status = _run_workers(listener, serve.workers) if several else _run_here(listener, serve)
    if status:
        sys.exit(status)


def _run_workers(listener: socket.socket, n_workers: int) -> int:
    with shared_counts() as path:
        os.environ[_COUNTS] = str(path)
        counts = WorkerCounts(path, SystemClock())
        try:
            return Supervisor(run_worker, listener, n_workers, counts).run()
        finally:
            counts.close()


def _run_here(listener: socket.socket, serve: ServeSettings) -> int:
    server = WorkerServer(_config(serve))
    server.run([listener])
    return 0 if server.started else uvicorn.config.STARTUP_FAILURE


def run_worker(listener: socket.socket) -> None:
    """One of several worker processes, from what `run_server` left in the environment."""
    settings = msgspec.json.decode(os.environ[_SETTINGS], type=Settings)
    counts = WorkerCounts(Path(os.environ[_COUNTS]), SystemClock())
    WorkerServer(_config(settings.serve), counts).run([listener])


def _config(serve: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        "upnext.serve.server:worker_app",
        factory=True,
        host=serve.host,
        port=serve.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=serve.keep_alive_s,
    )


def worker_app() -> ASGIApp:
    """The application of one worker process, from what `run_server` left in the environment."""
    from upnext.metrics.recorder import Metrics  # after the environment says whether workers count together
    from upnext.serve.app import create_app
    from upnext.serve.engine import Engine
    from upnext.serve.gateway import Gateway
    from upnext.serve.rate_limit import RateLimiter
    from upnext.serve.tenants import tenants_of

    settings = msgspec.json.decode(os.environ[_SETTINGS], type=Settings)
    home, clock, metrics = Path(os.environ[_HOME]), SystemClock(), Metrics()
    set_up_logs(settings.observe.logs)
    tracing = Tracing(settings.observe.traces_share, clock) if settings.observe.traces else None
    keys = Keys(home / KEYS_FILE, clock)
    check_listen(settings.serve.host, keys)  # once more: a worker may start long after the server
    guard, changes = Path(os.environ[_GUARD]), Path(os.environ[_CHANGES])
    exhausted = _end_worker if settings.serve.workers > 1 else _stay

    def app_of(tenant: str, folder: Path) -> ASGIApp:
        shared = {"guard_file": guard, "changes_file": changes}
        engine = Engine(folder, settings, clock, metrics, tenant=tenant, exhausted=exhausted, **shared)
        return create_app(engine, metrics, tracing, keys)

    apps = {tenant: app_of(tenant, folder) for tenant, folder in tenants_of(home).items()}
    limiter = RateLimiter(Path(os.environ[_LIMITS]), clock)
    return Gateway(apps, keys, limiter, metrics.count_refused)


def _end_worker() -> None:
    """Drains and ends this worker; its parent starts another one."""
    _log.error("too many threads are lost to models that hang; this worker ends, and another one takes its place")
    os.kill(os.getpid(), signal.SIGTERM)


def _stay() -> None:
    """There is no parent that would start another worker."""
    _log.error("too many threads are lost to models that hang; slates are made without models until some come back")
