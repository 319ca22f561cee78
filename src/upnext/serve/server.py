"""The server processes: how many, with which settings, counting together."""

import os
from contextlib import nullcontext
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette

from upnext.clock import SystemClock
from upnext.metrics.workers import share_between_workers
from upnext.settings import Settings

_HOME, _SETTINGS = "_UPNEXT_WORKER_HOME", "_UPNEXT_WORKER_SETTINGS"
# One thread in every native library of a worker: the workers are the parallelism.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_server(home: Path, settings: Settings) -> None:
    """Serves until told to stop (SIGINT, SIGTERM); workers that die are started again."""
    serve = settings.serve
    for variable in _THREADS:
        os.environ[variable] = "1"
    os.environ[_HOME] = str(home.resolve())
    os.environ[_SETTINGS] = msgspec.json.encode(settings).decode()
    with share_between_workers() if serve.workers > 1 else nullcontext():
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


def worker_app() -> Starlette:
    """The application of one worker process, from what `run_server` left in the environment."""
    from upnext.funnel.live import Live
    from upnext.metrics.recorder import Metrics  # after the environment says whether workers count together
    from upnext.serve.app import create_app
    from upnext.serve.engine import Engine

    settings = msgspec.json.decode(os.environ[_SETTINGS], type=Settings)
    metrics = Metrics()

    def tell(live: Live) -> None:
        metrics.set_gauge("workers", 1)
        metrics.set_gauge("release_items", live.funnel.catalog.n_items)
        metrics.set_gauge("release_created_timestamp_seconds", live.created_ms / 1_000)

    return create_app(Engine(Path(os.environ[_HOME]), settings, SystemClock(), tell), metrics)
