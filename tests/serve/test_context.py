"""Circumstances told with an event or a request: people are shown what is chosen on their kind of device."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np

from tests.serve.conftest import running
from tests.serve.test_engine import until
from upnext.clock import Deadline, SystemClock
from upnext.features.spec import SOURCE_BIT
from upnext.serve.engine import Engine
from upnext.serve.messages import RecommendRequest
from upnext.serve.recommend import slate_request

WATCHED = ["i000101", "i000102", "i000103"]


def by_context(engine: Engine, **body: Any) -> list[str]:
    """What the source `context` has for a request."""
    live = engine.live
    assert live is not None
    request = slate_request(msgspec.convert(body, RecommendRequest), live, 1.0)
    never = Deadline.never(SystemClock())
    view = live.view(request.subject, engine.store, never)
    found = {bit: rows for bit, _, rows in live.funnel.found(view, request, never)}
    return live.funnel.catalog.ids.take(found.get(SOURCE_BIT["context"], np.empty(0, np.int32)))


async def watched(client: httpx.AsyncClient, engine: Engine) -> None:
    """Three items are watched on a television, a day after all that the release knows of."""
    assert engine.live is not None
    crowd = engine.live.funnel.crowd
    counted = crowd.trends.latest_ms
    events = [
        {"action": "play", "user_id": f"viewer{user}", "item_id": item, "context": {"device": "television"}}
        for user, item in enumerate(WATCHED)
    ]
    await client.post("/v1/events", json=events)
    await asyncio.wait_for(until(lambda: crowd.trends.latest_ms > counted), 60)
    await asyncio.wait_for(until(lambda: len(crowd.contexts.top(television(engine), 9)) == 3), 60)


def television(engine: Engine) -> tuple[int, ...]:
    assert engine.live is not None
    return engine.live.funnel.crowd.contexts.context_of({"device": "television"})


def test_somebody_new_gets_what_is_chosen_on_the_same_device(home: Path) -> None:
    async def inside() -> None:
        async with running(home) as (client, engine):
            await watched(client, engine)
            told = {"context": {"device": "television"}}
            assert by_context(engine, **told) == WATCHED
            assert by_context(engine, user_id="new", **told) == WATCHED
            assert by_context(engine, user_id="new") == []
            assert by_context(engine, user_id="new", context={"device": "toaster"}) == []
            assert (await client.post("/v1/recommend", json={"k": 20, **told})).json()["degraded"] == []

    asyncio.run(inside())


def test_without_a_word_the_users_last_event_tells_the_circumstances(home: Path) -> None:
    async def inside() -> None:
        async with running(home) as (client, engine):
            await watched(client, engine)
            assert by_context(engine, user_id="viewer0") == WATCHED
            assert by_context(engine, user_id="viewer0", context={"device": "toaster"}) == [], (
                "what is told comes first"
            )

    asyncio.run(inside())
