"""Items over HTTP: a new one is soon recommended, a deleted or blocked one never again, whatever the tier."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.conftest import PATIENT, error_of, running
from tests.serve.test_engine import until
from upnext.serve.engine import Engine
from upnext.settings import BudgetSettings, ItemSettings, Settings

HURRIED = Settings(budget=BudgetSettings(full_ms=0.001))  # every answer is what the crowd likes


def scenario(home: Path, settings: Settings = PATIENT) -> Any:
    def run(body: Any) -> None:
        async def inside() -> None:
            async with running(home, settings) as (client, engine):
                await body(client, engine)

        asyncio.run(inside())

    return run


async def slate(client: httpx.AsyncClient, **body: Any) -> list[str]:
    answer = (await client.post("/v1/recommend", json={"k": 20, **body})).json()
    return [item["item_id"] for item in answer["items"]]


@pytest.mark.parametrize("settings", [PATIENT, HURRIED])
@pytest.mark.parametrize("how", ["deleted", "blocked", "unavailable"])
def test_what_may_not_be_shown_leaves_in_no_slate_from_the_next_request_on(
    home: Path, settings: Settings, how: str
) -> None:
    @scenario(home, settings)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        item = (await slate(client, user_id="somebody"))[0]
        if how == "deleted":
            response = await client.delete(f"/v1/items/{item}")
            assert response.json()["item_id"] == item
        else:
            change = {"blocked": True} if how == "blocked" else {"available": False}
            response = await client.post("/v1/items", json={"item_id": item, **change})
            assert response.json() == {"accepted": 1, "rejected": []}
        assert item not in await slate(client, user_id="somebody", k=100)
        popular = (await client.get("/v1/popular?k=100")).json()["items"]
        assert item not in [each["item_id"] for each in popular]
        ranked = (await client.post("/v1/rank", json={"items": [item]})).json()
        assert (ranked["items"], ranked["unknown"]) == ([], [item])
        await client.post("/v1/items", json={"item_id": item})
        found = (await client.post("/v1/rank", json={"items": [item]})).json()
        assert found["unknown"] == [], "posted again, it is back"


def test_another_worker_knows_of_a_deletion_at_its_next_request(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        async with running(home) as (other, _):
            item = (await slate(other, user_id="somebody"))[0]
            await client.delete(f"/v1/items/{item}")
            assert item not in await slate(other, user_id="somebody", k=100)


def test_a_posted_item_is_found_by_its_content_and_stepped_over_when_clicked(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        known = next(item for item in engine.records.items() if item.title and item.genres)
        fresh = {"item_id": "brand/new", "title": known.title, "genres": list(known.genres), "text": known.text}
        assert (await client.post("/v1/items", json=[fresh])).json() == {"accepted": 1, "rejected": []}
        similar = (await client.get(f"/v1/items/{known.item_id}/similar?k=50")).json()["items"]
        assert "brand/new" in [item["item_id"] for item in similar]
        back = (await client.get("/v1/items/brand%2Fnew/similar?k=50")).json()["items"]
        assert known.item_id in [item["item_id"] for item in back]
        # Somebody who likes what is like it is shown it, since it is among the candidates.
        await client.post("/v1/events", json={"action": "click", "user_id": "fan", "item_id": known.item_id})
        answer = (await client.post("/v1/recommend", json={"user_id": "fan", "k": 100, "explain": True})).json()
        (shown,) = [item for item in answer["items"] if item["item_id"] == "brand/new"]
        assert "fresh" in shown["sources"]
        assert (shown["title"], shown["genre"]) == (known.title, known.genres[0])
        await client.post("/v1/events", json={"action": "click", "user_id": "fan", "item_id": "brand/new"})
        assert "brand/new" not in await slate(client, user_id="fan", k=100), "seen"


def test_many_posted_items_move_into_the_indexes_beside_the_requests(home: Path) -> None:
    settings = Settings(budget=PATIENT.budget, items=ItemSettings(index_after=4))

    @scenario(home, settings)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        assert engine.live is not None
        known = next(item for item in engine.records.items() if item.title and item.genres)
        facts = {"title": known.title, "genres": list(known.genres), "text": known.text}
        retrieval = engine.live.funnel.retrieval
        n_released = retrieval.n_indexed
        await client.post("/v1/items", json=[{"item_id": f"new{number}", **facts} for number in range(5)])
        await asyncio.wait_for(until(lambda: retrieval.n_indexed == n_released + 3), 60)
        similar = (await client.get(f"/v1/items/{known.item_id}/similar?k=50")).json()["items"]
        assert {f"new{number}" for number in range(5)} <= {item["item_id"] for item in similar}


def test_posted_items_and_users_outlive_the_server(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        await client.post("/v1/items", json={"items": [{"item_id": "kept", "title": "Kept"}]})
        await client.post("/v1/users", json={"user_id": "ann", "attributes": {"age": 7}})

    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        item = engine.records.item("kept")
        assert item is not None
        assert item.title == "Kept"
        user = engine.records.user("ann")
        assert user is not None
        assert user.attributes == {"age": 7}
        assert (await client.post("/v1/rank", json={"items": ["kept"]})).json()["unknown"] == []


def test_a_broken_item_is_named_and_kept_as_a_dead_letter(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        body = [{"item_id": "good"}, {"item_id": "bad", "price": -1}]
        response = await client.post("/v1/items", json=body)
        assert response.json()["accepted"] == 1
        assert [part["reason"] for part in response.json()["rejected"]] == ["price_out_of_range"]
        alone = await client.post("/v1/items", json=body[1])
        assert (alone.status_code, error_of(alone)["code"]) == (422, "price_out_of_range")
        assert [(letter.kind, letter.reason) for letter in engine.dead_letters.page()] == [
            ("item", "price_out_of_range")
        ] * 2
