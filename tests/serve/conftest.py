"""A running application over a trained home, asked in process: real store, log, threads and release; no socket."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from tests.conftest import TrainedHome
from upnext.clock import SystemClock
from upnext.metrics.recorder import Metrics
from upnext.serve.app import create_app
from upnext.serve.engine import Engine
from upnext.settings import BudgetSettings, Settings

Scenario = Callable[[httpx.AsyncClient, Engine], Awaitable[None]]
# Tests are about what is answered; a busy machine must not turn full answers into popular ones.
PATIENT = Settings(budget=BudgetSettings(full_ms=10_000.0, hard_stop_ms=10_000.0))


@asynccontextmanager
async def running(home: Path, settings: Settings = PATIENT) -> AsyncIterator[tuple[httpx.AsyncClient, Engine]]:
    """The application between start and stop, and a client for it."""
    metrics = Metrics()
    engine = Engine(home, settings, SystemClock(), metrics)
    app = create_app(engine, metrics)
    async with _lifespan(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://upnext") as client:
            yield client, engine


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    async with app.router.lifespan_context(app):
        yield


@pytest.fixture
def home(trained_home: TrainedHome, tmp_path: Path) -> Path:
    return trained_home.copy(tmp_path / "home")


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error record of a failure, whose shape is checked."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "path", "request_id"}
    return dict(body["error"])
