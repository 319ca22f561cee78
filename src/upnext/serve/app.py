"""The HTTP application over an engine: which path leads where, and what happens at start and stop."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from upnext.metrics.recorder import Metrics
from upnext.serve.engine import Engine
from upnext.serve.events import Events
from upnext.serve.http import Endpoint, Plain, failure_body
from upnext.serve.lookups import Lookups
from upnext.serve.operations import Operations
from upnext.serve.recommend import Recommend

_log = logging.getLogger(__name__)


def create_app(engine: Engine, metrics: Metrics) -> Starlette:
    """The application; opens the active release when it starts, and closes the engine when it stops."""
    recommend, events = Recommend(engine, metrics), Events(engine, metrics)
    lookups, operations = Lookups(engine), Operations(engine, metrics)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine.open_release()
        # What lives as long as the worker is taken out of the collector's sight; what a request makes has no cycles.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        await engine.start()
        try:
            yield
        finally:
            await engine.close()

    return Starlette(
        routes=[
            Route("/v1/recommend", Endpoint(recommend.recommend), methods=["POST"]),
            Route("/v1/events", Endpoint(events.post), methods=["POST"]),
            Route("/v1/rank", Endpoint(recommend.rank), methods=["POST"]),
            Route("/v1/items/{item_id}/similar", Endpoint(lookups.similar), methods=["GET"]),
            Route("/v1/popular", Endpoint(lookups.popular), methods=["GET"]),
            Route("/healthz", Plain(operations.healthz), methods=["GET"]),
            Route("/readyz", Plain(operations.readyz), methods=["GET"]),
            Route("/metrics", Plain(operations.metrics, slow=True), methods=["GET"]),
            Route("/openapi.json", Plain(operations.openapi), methods=["GET"]),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_failure, Exception: _unforeseen},
    )


async def _http_failure(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, in the one error shape."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    message = f"{request.method} {request.url.path}: {error.detail.lower()}; see /openapi.json"
    return Response(failure_body(code, message), error.status_code, error.headers, "application/json")


async def _unforeseen(request: Request, error: Exception) -> Response:
    _log.error("unforeseen failure of %s %s", request.method, request.url.path, exc_info=error)
    message = "something failed that nobody foresaw; the server's log has the details under this request id"
    return Response(failure_body("internal", message), 500, media_type="application/json")
