"""The HTTP application over an engine: which path leads where, and what happens at start and stop."""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from upnext.metrics.recorder import Metrics
from upnext.metrics.tracing import Tracing
from upnext.serve.console import Console, Stream
from upnext.serve.dead_letters import DeadLetterEndpoints
from upnext.serve.engine import Engine
from upnext.serve.events import Events
from upnext.serve.explain import ExplainEndpoints
from upnext.serve.http import Endpoint, Plain, failure_body, unforeseen_body
from upnext.serve.keys import Keys
from upnext.serve.lookups import Lookups
from upnext.serve.operations import Operations
from upnext.serve.pages import PageEndpoint
from upnext.serve.people import PeopleEndpoints
from upnext.serve.rank import Rank
from upnext.serve.recommend import Recommend
from upnext.serve.records import RecordEndpoints
from upnext.serve.release_desk import ReleaseEndpoints
from upnext.serve.slow import SlowEndpoint
from upnext.serve.storefront import Storefront
from upnext.serve.watched import Watched

_log = logging.getLogger(__name__)


class _App(Starlette):
    """Starlette, but that POSTs to the hot paths go straight to their endpoints, which see to failures themselves:
    middleware and routing would take as long as everything else that HTTP costs."""

    def __init__(self, hot: dict[str, Endpoint], **settings: Any) -> None:
        super().__init__(**settings)
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and (endpoint := self._hot.get(scope["path"])):
            await endpoint(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(engine: Engine, metrics: Metrics, tracing: Tracing | None = None, keys: Keys | None = None) -> Starlette:
    """One tenant's application; opens the active release when it starts, and closes the engine when it stops.

    Without an active release it takes events and records, and slates follow once one is activated. `keys`: those that
    the gateway before it asks for; pages say so where there are any.
    """
    recommend, events = Recommend(engine, Watched(engine, metrics, tracing)), Events(engine, metrics)
    records, dead_letters, people = (
        RecordEndpoints(engine, metrics),
        DeadLetterEndpoints(engine),
        PeopleEndpoints(engine),
    )
    lookups, console, explaining = Lookups(engine), Console(engine, metrics), ExplainEndpoints(engine)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if engine.has_release():
            engine.open_release()
        else:
            _log.warning("no release is active yet: events are taken, slates follow when one is activated")
        # What lives as long as the worker is taken out of the collector's sight; what a request makes has no cycles.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        await engine.start()
        try:
            yield
        finally:
            console.close()
            explaining.close()
            await engine.close()

    hot = {"/v1/recommend": Endpoint(recommend.recommend), "/v1/events": Endpoint(events.post)}
    return _App(
        hot,
        routes=[
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in hot.items()),
            Route("/v1/rank", Endpoint(Rank(engine).rank), methods=["POST"]),
            Route("/v1/items", Endpoint(records.post_items), methods=["POST"]),
            Route("/v1/items/{item_id:path}/similar", Endpoint(lookups.similar), methods=["GET"]),
            Route("/v1/items/{item_id:path}", Endpoint(records.delete_item), methods=["DELETE"]),
            Route("/v1/users", Endpoint(records.post_users), methods=["POST"]),
            Route("/v1/users/{user_id:path}", Endpoint(people.export), methods=["GET"]),
            Route("/v1/users/{user_id:path}", Endpoint(people.erase), methods=["DELETE"]),
            Route("/v1/deadletters", Endpoint(dead_letters.page), methods=["GET"]),
            Route("/v1/deadletters/replay", Endpoint(dead_letters.replay), methods=["POST"]),
            Route("/v1/deadletters/{number:int}", Endpoint(dead_letters.one), methods=["GET"]),
            Route("/v1/popular", Endpoint(lookups.popular), methods=["GET"]),
            *_operated(engine, console, explaining),
            *_shown(console, Storefront(engine, recommend, keys)),
            *_asked_by_machines(Operations(engine, metrics)),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_failure, Exception: _unforeseen},
    )


def _operated(engine: Engine, console: Console, explaining: ExplainEndpoints) -> list[Route]:
    """What those who run the server ask and do."""
    releases = ReleaseEndpoints(engine)
    return [
        Route("/v1/ops/figures", Endpoint(console.figures), methods=["GET"]),
        Route("/v1/ops/stream", Stream(console.stream), methods=["GET"]),
        Route("/v1/ops/releases", Endpoint(releases.all), methods=["GET"]),
        Route("/v1/ops/releases/rollback", Endpoint(releases.roll_back), methods=["POST"]),
        Route("/v1/ops/releases/{release_id}/activate", Endpoint(releases.activate), methods=["POST"]),
        Route("/v1/ops/users/{user_id:path}", Endpoint(explaining.user), methods=["GET"]),
        Route("/v1/ops/explain", Endpoint(explaining.request), methods=["POST"]),
        Route("/v1/ops/slow", Endpoint(SlowEndpoint(engine).page), methods=["GET"]),
    ]


def _shown(console: Console, storefront: Storefront) -> list[Route]:
    """Pages for people."""
    return [
        Route("/console", PageEndpoint(console.page), methods=["GET"]),
        Route("/console/static/{name}", PageEndpoint(console.static), methods=["GET"]),
        Route("/demo", PageEndpoint(storefront.page), methods=["GET"]),
        Route("/demo/page", Endpoint(storefront.reshaped), methods=["POST"]),
        Route("/demo/static/{name}", PageEndpoint(storefront.static), methods=["GET"]),
    ]


def _asked_by_machines(operations: Operations) -> list[Route]:
    return [
        Route("/healthz", Plain(operations.healthz), methods=["GET"]),
        Route("/readyz", Plain(operations.readyz), methods=["GET"]),
        Route("/metrics", Plain(operations.metrics, slow=True), methods=["GET"]),
        Route("/openapi.json", Plain(operations.openapi), methods=["GET"]),
    ]


async def _http_failure(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, in the one error shape."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    message = f"{request.method} {request.url.path}: {error.detail.lower()}; see /openapi.json"
    return Response(failure_body(code, message), error.status_code, error.headers, "application/json")


async def _unforeseen(request: Request, error: Exception) -> Response:
    _log.error("unforeseen failure of %s %s", request.method, request.url.path, exc_info=error)
    return Response(unforeseen_body(), 500, media_type="application/json")
