"""The server processes: how many, with which settings, counting together."""

import os
from contextlib import nullcontext
from pathlib import Path

import msgspec
import uvicorn
from starlette.types import ASGIApp

from upnext.clock import SystemClock
from upnext.metrics.workers import share_between_workers
from upnext.serve.access import check_listen
from upnext.serve.keys import KEYS_FILE, Keys
from upnext.serve.rate_limit import shared_limits
from upnext.settings import Settings

_HOME, _SETTINGS, _LIMITS = "_UPNEXT_WORKER_HOME", "_UPNEXT_WORKER_SETTINGS", "_UPNEXT_WORKER_LIMITS"
# One thread in every native library of a worker: the workers are the parallelism.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_server(home: Path, settings: Settings) -> None:
    """Serves until told to stop (SIGINT, SIGTERM); workers that die are started again.

    Raises `SettingsError` when it would listen beyond this machine without a single key.
    """
    serve = settings.serve
    check_listen(serve.host, Keys(home / KEYS_FILE, SystemClock()))
    for variable in _THREADS:
        os.environ[variable] = "1"
    os.environ[_HOME] = str(home.resolve())
    os.environ[_SETTINGS] = msgspec.json.encode(settings).decode()
    with shared_limits() as limits, share_between_workers() if serve.workers > 1 else nullcontext():
        os.environ[_LIMITS] = str(limits)
        uvicorn.run(
            "upnext.serve.server:worker_app",
            factory=True,
            host=serve.host,
            port=serve.port,
            workers=serve.workers,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
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
    keys = Keys(home / KEYS_FILE, clock)
    check_listen(settings.serve.host, keys)  # once more: a worker may start long after the server
    apps = {
        tenant: create_app(Engine(folder, settings, clock, metrics, tenant=tenant), metrics)
        for tenant, folder in tenants_of(home).items()
    }
    limiter = RateLimiter(Path(os.environ[_LIMITS]), clock)
    return Gateway(apps, keys, limiter, metrics.count_refused)
