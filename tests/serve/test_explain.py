"""A request explained is the request that is answered; a user explained is the user that requests see."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.serve.conftest import PATIENT, error_of, running
from upnext.settings import AheadSettings, RerankingSettings, Settings

LIVE = msgspec.structs.replace(PATIENT, ahead=AheadSettings(reuse=False))  # every answer is worked out anew


def slate_of(explained: dict[str, Any]) -> list[str]:
    placed = [each for each in explained["items"] if each["place"]]
    assert [each["place"] for each in placed] == list(range(1, len(placed) + 1))
    return [each["item_id"] for each in placed]


def explained_as_answered(home: Path, body: dict[str, Any], settings: Settings = LIVE) -> dict[str, Any]:
    """What is told of `body`, whose slate is the one that is recommended."""

    async def scenario() -> dict[str, Any]:
        async with running(home, settings) as (client, _):
            answer = (await client.post("/v1/recommend", json=body)).json()
            explained = (await client.post("/v1/ops/explain", json=body)).json()
            assert slate_of(explained) == [each["item_id"] for each in answer["items"]]
            assert (explained["tier"], explained["exit"]) == (answer["tier"], answer["exit"])
            assert (explained["release"], explained["state_version"]) == (answer["release"], answer["state_version"])
            return dict(explained)

    return asyncio.run(scenario())


def test_the_slate_explained_is_the_slate_recommended(home: Path) -> None:
    found = explained_as_answered(home, {"user_id": "u00007", "k": 12})
    assert found["tier"] == "full"
    assert [each["stage"] for each in found["stages"]] == ["state", "retrieval", "ranking", "reranking"]
    assert found["stages"][-1]["n_out"] == 12
    assert found["recent"]
    assert len(found["items"]) <= 100
    names = {each["source"] for each in found["sources"]}
    assert {"popular", "user_vector", "session_vector"} <= names
    for item in found["items"][:12]:
        assert item["ranker_rank"] is not None
        assert item["sources"].keys() <= names
        assert item["merged_rank"] is not None
    best = min(found["items"], key=lambda each: each["ranker_rank"] or 10_000)
    assert best["ranker_rank"] == 1


def test_each_source_tells_the_rank_of_its_items(home: Path) -> None:
    found = explained_as_answered(home, {"user_id": "u00007"})
    firsts = {each["source"]: each["first"] for each in found["sources"]}
    for item in found["items"]:
        for source, rank in item["sources"].items():
            if rank <= 20:
                assert firsts[source][rank - 1] == item["item_id"]


def test_what_the_user_has_seen_is_told_as_dropped_for_that(home: Path) -> None:
    found = explained_as_answered(home, {"user_id": "u00007"})
    seen = [item for item in found["items"] if any(move["rule"] == "seen" for move in item["moves"])]
    assert seen
    assert found["rules"]["seen"] >= len(seen)
    recent = {each["item_id"] for each in found["recent"]}
    assert recent & {each["item_id"] for each in seen}
    for item in seen:
        assert item["place"] is item["candidate_rank"] is None
        assert item["moves"][-1]["after"] is None


def test_filters_exclusions_and_blocked_items_are_told_with_their_rule(home: Path) -> None:
    plain = explained_as_answered(home, {"user_id": "u00007", "k": 5})
    first, second, third = slate_of(plain)[:3]
    settings = msgspec.structs.replace(LIVE, reranking=RerankingSettings(blocked=(second,), pinned=(third,)))
    found = explained_as_answered(home, {"user_id": "u00007", "k": 5, "exclude": [first]}, settings)
    rules = {item["item_id"]: [move["rule"] for move in item["moves"]] for item in found["items"]}
    assert rules.get(first) == ["excluded"]
    assert second not in slate_of(found)
    assert slate_of(found)[0] == third


def test_a_request_that_goes_no_further_than_what_is_popular_is_explained_too(home: Path) -> None:
    found = explained_as_answered(home, {"k": 5, "filters": {"genres": ["Horror"]}, "context": {"region": "north"}})
    assert {item["genre"] is not None for item in found["items"]} == {True}
    assert found["subject"] is None


def test_under_the_guard_the_fast_path_is_explained_and_the_route_is_that_of_a_request(home: Path) -> None:
    async def scenario() -> None:
        async with running(home) as (client, engine):
            body = {"user_id": "u00007"}
            await client.post("/v1/recommend", json=body)
            found = (await client.post("/v1/ops/explain", json=body)).json()
            assert (found["course"], found["route"]) == ("full", "shortlist")
            engine.steering.guard.turn_on(f"{engine.tenant}/", engine.clock.now_ms() + 60_000)
            found = (await client.post("/v1/ops/explain", json=body)).json()
            assert (found["course"], found["tier"]) == ("fast", "fast")
            assert all(item["ranker_rank"] is None for item in found["items"])

    asyncio.run(scenario())


def test_to_explain_keeps_nothing(home: Path) -> None:
    async def scenario() -> None:
        async with running(home) as (client, engine):
            for _ in range(2):
                await client.post("/v1/ops/explain", json={"user_id": "u00007"})
            assert len(engine.ahead.shortlists.l1) == 0
            assert engine.diary.all(10) == []
            response = await client.post("/v1/ops/explain", json={"user_id": "u00007", "k": 1_000})
            assert (response.status_code, error_of(response)["path"]) == (400, "$.k")

    asyncio.run(scenario())


def test_a_user_is_explained_by_state_events_and_nearest_items(home: Path) -> None:
    async def scenario() -> None:
        async with running(home) as (client, _):
            event = {"action": "play", "user_id": "u00007", "item_id": "i000003", "value": 61.0}
            assert (await client.post("/v1/events", json=event)).json()["accepted"] == 1
            found = (await client.get("/v1/ops/users/u00007")).json()
            assert found["recent"][0]["item_id"] == "i000003"
            assert [found["events"][0][name] for name in ("action", "item_id", "value")] == ["play", "i000003", 61.0]
            sequences = [each["sequence"] for each in found["events"]]
            assert sequences == sorted(sequences, reverse=True)
            assert found["n_interactions"] > 1
            assert {each["vector"] for each in found["vectors"]} >= {"session", "user"}
            for each in found["vectors"]:
                scores = [item["score"] for item in each["items"]]
                assert len(scores) == 10
                assert scores == sorted(scores, reverse=True)
            await _nobody(client)

    asyncio.run(scenario())


async def _nobody(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/ops/users/nobody-at-all")
    assert (response.status_code, error_of(response)["code"]) == (404, "unknown_user")
