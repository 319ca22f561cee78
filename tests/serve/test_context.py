"""Circumstances told with an event or a request: people are shown what is chosen on their kind of device."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from tests.serve.conftest import running
from tests.serve.test_engine import until
from upnext.serve.engine import Engine

WATCHED = ["i000101", "i000102", "i000103"]


async def by_context(client: httpx.AsyncClient, **body: Any) -> set[str]:
    """The items of a slate that the source `context` had."""
    answer = (await client.post("/v1/recommend", json={"k": 100, "explain": True, **body})).json()
    return {item["item_id"] for item in answer["items"] if "context" in item["sources"]}


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
            for who in ({}, {"user_id": "new"}):
                found = await by_context(client, **told, **who)
                assert found, "some of them are good enough for the slate"
                assert found <= set(WATCHED)
            assert await by_context(client, user_id="somebody") == set()
            assert await by_context(client, user_id="another", context={"device": "toaster"}) == set()

    asyncio.run(inside())


def test_without_a_word_the_users_last_event_tells_the_circumstances(home: Path) -> None:
    async def inside() -> None:
        async with running(home) as (client, engine):
            await watched(client, engine)
            found = await by_context(client, user_id="viewer0")
            assert found
            assert found <= set(WATCHED[1:])  # its own is seen
            told = {"context": {"device": "toaster"}}
            assert await by_context(client, user_id="viewer1", **told) == set(), "what is told comes first"

    asyncio.run(inside())
