"""The HTTP interface as a client sees it, over a real release."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.conftest import PATIENT, error_of, running
from upnext.serve.engine import Engine
from upnext.settings import RerankingSettings, Settings


def scenario(home: Path, settings: Settings = PATIENT) -> Any:
    """Runs an async function of (client, engine) against a running application."""

    def run(body: Any) -> None:
        async def inside() -> None:
            async with running(home, settings) as (client, engine):
                await body(client, engine)

        asyncio.run(inside())

    return run


def somebody(engine: Engine) -> str:
    """The user of the newest event."""
    ((_, event),) = engine.event_log.read(engine.event_log.last() - 1, 1)
    assert event.user_id is not None
    return event.user_id


async def recommend(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/recommend", json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_a_known_user_gets_a_full_slate_that_says_how_it_came_about(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        user = somebody(engine)
        answer = await recommend(client, user_id=user, k=7)
        assert len(set(ids(answer))) == 7
        assert (answer["tier"], answer["route"], answer["degraded"]) == ("full", "live", [])
        assert answer["release"] == engine.live.release_id
        assert answer["state_version"] > 0
        assert set(answer["timing_ms"]) == {"queue", "state", "retrieval", "ranking", "reranking", "total"}
        assert {"item_id", "score", "source"} == set(answer["items"][0])


def test_an_unknown_user_and_nobody_get_a_slate_all_the_same(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        for body in ({"user_id": "nobody-has-this-id"}, {"session_id": "new"}, {}):
            answer = await recommend(client, **body)
            assert len(ids(answer)) == 20
            assert answer["state_version"] == 0


def test_a_posted_click_advances_the_state_by_one_step_and_shows_in_the_next_slate(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        user = somebody(engine)
        before = await recommend(client, user_id=user)
        clicked = ids(before)[0]
        posted = await client.post("/v1/events", json={"action": "click", "user_id": user, "item_id": clicked})
        assert posted.json() == {"accepted": 1, "duplicates": 0, "withheld": 0, "rejected": [], "applied": True}
        after = await recommend(client, user_id=user)
        assert after["state_version"] == before["state_version"] + 1
        assert clicked not in ids(after)
        assert ids(after) != ids(before)


def test_an_event_sent_twice_is_applied_once(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        event = {"event_id": "e1", "action": "click", "user_id": "u-new", "item_id": "x"}
        first = await client.post("/v1/events", json=event)
        second = await client.post("/v1/events", json=[event, {**event, "event_id": "e2"}])
        assert (first.json()["accepted"], second.json()["accepted"], second.json()["duplicates"]) == (1, 1, 1)
        assert (await recommend(client, user_id="u-new"))["state_version"] == 2


def test_good_events_are_taken_and_bad_ones_named_with_their_place(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        good = {"action": "app_open", "user_id": "a"}
        response = await client.post("/v1/events", json=[good, {"action": "dance", "user_id": "a"}])
        assert response.status_code == 200
        assert response.json()["accepted"] == 1
        (rejected,) = response.json()["rejected"]
        assert (rejected["index"], rejected["reason"], rejected["path"]) == (1, "unknown_action", "$[1].action")
        alone = await client.post("/v1/events", json={"action": "dance", "user_id": "a"})
        assert alone.status_code == 422
        assert error_of(alone)["code"] == "unknown_action"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('{"user_id": 7}', "$.user_id"),
        ('{"k": 0}', "$.k"),
        ('{"k": "many"}', "$.k"),
        ('{"budget_ms": 500}', "$.budget_ms"),
        ('{"context": {"region": 5}}', "$.context.region"),
        ('{"exclude": ["a", 1]}', "$.exclude[1]"),
        ('{"usr_id": "a"}', "$"),
        ("{", "$"),
        ("[]", "$"),
    ],
)
def test_a_wrong_request_is_refused_with_the_field_to_blame(home: Path, body: str, path: str) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        response = await client.post("/v1/recommend", content=body)
        assert response.status_code == 400
        assert error_of(response)["path"] == path


def test_unknown_paths_and_methods_fail_in_the_same_shape(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        missing, wrong = await client.get("/v1/nothing"), await client.get("/v1/recommend")
        assert (missing.status_code, error_of(missing)["code"]) == (404, "not_found")
        assert (wrong.status_code, error_of(wrong)["code"]) == (405, "method_not_allowed")


def test_a_body_over_the_limit_is_refused_with_413(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        response = await client.post("/v1/recommend", content=b'{"user_id":"' + b"a" * 2**20 + b'"}')
        assert response.status_code == 413
        assert error_of(response)["code"] == "body_too_large"


def test_excluded_blocked_and_filtered_items_never_leave(home: Path) -> None:
    blocked_by_settings = Settings(budget=PATIENT.budget, reranking=RerankingSettings(blocked=("i00001",)))

    @scenario(home, blocked_by_settings)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        catalog = engine.live.funnel.catalog
        first = await recommend(client, k=50)
        again = await recommend(client, k=50, exclude=ids(first)[:5])
        assert not set(ids(first)[:5]) & set(ids(again))
        genre = catalog.genres[2]
        only = await recommend(client, k=50, filters={"genres": [genre]})
        assert only["items"]
        for item_id in ids(only):
            row = catalog.row_of(item_id)
            assert int(catalog.genre_bits[row]) >> 2 & 1


def test_explain_adds_title_genre_and_every_source(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        user = somebody(engine)
        answer = await recommend(client, user_id=user, explain=True)
        item = answer["items"][0]
        assert item["title"] == engine.live.funnel.catalog.titles[engine.live.funnel.catalog.row_of(item["item_id"])]
        assert item["source"] in item["sources"]


def test_rank_orders_the_callers_items_and_lists_unknown_ones(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        user = somebody(engine)
        some = [engine.live.funnel.catalog.ids[row] for row in (5, 9, 2, 40)]
        response = await client.post("/v1/rank", json={"user_id": user, "items": [*some, "no-such"]})
        answer = response.json()
        assert response.status_code == 200
        assert sorted(item["item_id"] for item in answer["items"]) == sorted(some)
        scores = [item["score"] for item in answer["items"]]
        assert scores == sorted(scores, reverse=True)
        assert (answer["unknown"], answer["tier"]) == (["no-such"], "full")
        backwards = await client.post("/v1/rank", json={"user_id": user, "items": some[::-1]})
        assert [i["item_id"] for i in backwards.json()["items"]] == [i["item_id"] for i in answer["items"]]


def test_similar_items_leave_out_the_item_itself_and_404_names_an_unknown_one(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        item_id = engine.live.funnel.catalog.ids[3]
        answer = (await client.get(f"/v1/items/{item_id}/similar?k=5")).json()
        assert len(answer["items"]) == 5
        assert item_id not in ids(answer)
        missing = await client.get("/v1/items/no-such/similar")
        assert (missing.status_code, error_of(missing)["code"]) == (404, "unknown_item")
        wrong = await client.get(f"/v1/items/{item_id}/similar?k=0")
        assert (wrong.status_code, error_of(wrong)["path"]) == (400, "$.k")


def test_popular_is_what_the_crowd_chose_and_can_be_filtered(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        catalog = engine.live.funnel.catalog
        answer = (await client.get("/v1/popular?k=10")).json()
        assert len(set(ids(answer))) == 10
        filtered = (await client.get(f"/v1/popular?k=10&genre={catalog.genres[1]}")).json()
        assert all(int(catalog.genre_bits[catalog.row_of(i)]) >> 1 & 1 for i in ids(filtered))


def test_operations_answer(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        await recommend(client, user_id="a")
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        assert ready.json() == {"status": "ready", "release": engine.live.release_id}
        metrics = (await client.get("/metrics")).text
        assert 'upnext_requests_total{route="live",tier="full"} 1.0' in metrics
        document = (await client.get("/openapi.json")).json()
        assert "/v1/recommend" in document["paths"]
        assert "RecommendRequest" in document["components"]["schemas"]
