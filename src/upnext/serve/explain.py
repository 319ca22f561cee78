"""POST /v1/ops/explain and GET /v1/ops/users/{id}: why a request is answered as it is, and what is made of a user."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope

from upnext.clock import Deadline
from upnext.domain.event import Event
from upnext.domain.identity import subject_of
from upnext.features.user_view import UserView
from upnext.funnel.explain import explain
from upnext.funnel.explained import Explained, NamedItem, Nearest
from upnext.funnel.live import Live
from upnext.funnel.nearest import nearest_items, recent_items
from upnext.serve.engine import Engine
from upnext.serve.http import failure, read_body
from upnext.serve.messages import RecommendRequest, decoded
from upnext.serve.recommend import check_request, live_or_503, slate_request

_EVENTS = 50
_NEAREST = 10
_Made = TypeVar("_Made")
_decoder = msgspec.json.Decoder(RecommendRequest)


class LastEvent(msgspec.Struct, kw_only=True):
    """One event of a user, as far as it is of use to whoever looks into it."""

    sequence: int
    timestamp_ms: int
    action: str
    item_id: str | None
    title: str | None  # None for an item that the release does not have
    value: float | None
    query: str | None
    session_id: str | None


class UserExplained(msgspec.Struct, kw_only=True):
    """One user as requests see them now."""

    user_id: str
    release: str
    state_version: int
    n_interactions: int
    n_seen: int
    last_ms: int  # time of the latest event, 0 for none
    lags: bool  # whether the vectors are of an earlier state
    attributes: dict[str, Any]
    recent: list[NamedItem]  # newest first
    vectors: list[Nearest]
    events: list[LastEvent]  # newest first


class ExplainEndpoints:
    """Works in one spare thread of its own: never in that of slates, and never where they wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "explain")

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def request(self, scope: Scope, receive: Receive) -> Explained:
        """The way of one request as /v1/recommend would take it now; nothing of it is kept or learnt from."""
        engine = self._engine
        live = live_or_503(engine)
        body = decoded(_decoder, await read_body(receive, engine.settings.serve.max_body_bytes))
        engine.items.heed(live)
        check_request(body, engine.settings)
        region, regions = body.context.region, live.funnel.catalog.regions
        request = slate_request(body, live, engine.steering.quality_of(region, regions))
        if engine.steering.is_guarded(region, regions):
            request = replace(request, most="fast")
        route = engine.ahead.shortlists.find(live, request).route
        budget_ms = engine.steering.budget_ms(body.surface, body.budget_ms)

        def work() -> Explained:
            deadline = Deadline.after(engine.clock, budget_ms)
            return explain(
                live.funnel, request, lambda until: self._view(live, request.subject, until), deadline,
                release=live.release_id, clock=engine.clock,
            )  # fmt: skip

        found = await self._in_thread(work)
        return msgspec.structs.replace(found, route=route.name, route_why=route.why)

    async def user(self, scope: Scope, receive: Receive) -> UserExplained:
        """State, last events and what is near. Raises `RequestError` 404 where nothing is known."""
        live, user_id = live_or_503(self._engine), scope["path_params"]["user_id"]
        return await self._in_thread(lambda: self._explained(live, user_id))

    def _explained(self, live: Live, user_id: str) -> UserExplained:
        engine, funnel = self._engine, live.funnel
        subject = subject_of(user_id, None)
        view = self._view(live, subject, Deadline.never(engine.clock))
        events = engine.event_log.of_subject(subject) if subject else []
        record = engine.records.user(user_id)
        if not (view.state_version or events or record):
            raise failure(404, "unknown_user", f"nothing is known of user {user_id!r}")
        return UserExplained(
            user_id=user_id,
            release=live.release_id,
            state_version=view.state_version,
            n_interactions=view.n_interactions,
            n_seen=len(view.seen_rows),
            last_ms=view.last_ms,
            lags=view.lags,
            attributes=dict(record.attributes) if record else {},
            recent=recent_items(funnel, view),
            vectors=nearest_items(funnel, view, _NEAREST),
            events=[_event(sequence, event, live) for sequence, event in events[: -_EVENTS - 1 : -1]],
        )

    def _view(self, live: Live, subject: str | None, deadline: Deadline) -> UserView:
        return live.view(subject, self._engine.store, deadline)

    async def _in_thread(self, work: Callable[[], _Made]) -> _Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _event(sequence: int, event: Event, live: Live) -> LastEvent:
    catalog = live.funnel.catalog
    row = catalog.row_of(event.item_id) if event.item_id else -1
    return LastEvent(
        sequence=sequence,
        timestamp_ms=event.timestamp_ms,
        action=event.action,
        item_id=event.item_id,
        title=catalog.titles[row] if row >= 0 else None,
        value=event.value,
        query=event.query,
        session_id=event.session_id,
    )
