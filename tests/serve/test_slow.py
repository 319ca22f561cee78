"""Slow requests are told with what their time went into."""

import asyncio
from pathlib import Path

import httpx

from tests.serve.conftest import error_of, running
from upnext.serve.engine import Engine


def test_the_slowest_requests_come_first_with_their_stages(home: Path) -> None:
    async def scenario() -> None:
        async with running(home) as (client, engine):
            for user in range(5):
                await client.post("/v1/recommend", json={"user_id": f"u{user:05}", "surface": "home"})
            found = (await client.get("/v1/ops/slow", params={"n": 3})).json()["requests"]
            totals = [each["total_ms"] for each in found]
            assert len(found) == 3
            assert totals == sorted(totals, reverse=True)
            first = found[0]
            assert first["surface"] == "home"
            assert {"queue", "retrieval", "ranking", "reranking"} <= set(first["timing_ms"])
            assert sum(first["timing_ms"].values()) <= first["total_ms"]
            assert first["cause"] in {"queue", "store", "index", "ranker", "rules", "gc", "waiting"}
            await _refuses_other_numbers(client, engine)

    asyncio.run(scenario())


async def _refuses_other_numbers(client: httpx.AsyncClient, engine: Engine) -> None:
    for text in ("0", "many", "241"):
        response = await client.get("/v1/ops/slow", params={"n": text})
        assert response.status_code == 400
        assert error_of(response)["path"] == "$.n"
