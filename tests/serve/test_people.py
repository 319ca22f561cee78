"""People's rights over HTTP: consent, export and erasure, wherever something is kept."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.redis_servers import running_server
from tests.serve.conftest import PATIENT, error_of, running
from upnext.cli.pipeline.world import load_world as world_of
from upnext.serve.engine import Engine
from upnext.settings import Settings, StoreSettings


def scenario(home: Path, settings: Settings = PATIENT) -> Any:
    def run(body: Any) -> None:
        async def inside() -> None:
            async with running(home, settings) as (client, engine):
                await body(client, engine)

        asyncio.run(inside())

    return run


async def fill(client: httpx.AsyncClient, engine: Engine) -> dict[str, Any]:
    """Something of ann in every place there is; the slate she was shown."""
    await client.post("/v1/users", json={"user_id": "ann", "attributes": {"country": "CH"}})
    slate = (await client.post("/v1/recommend", json={"user_id": "ann", "k": 5})).json()
    clicked = slate["items"][0]["item_id"]
    events = [
        {"event_id": "before-login", "action": "view", "session_id": "tab", "item_id": clicked},
        {"event_id": "click", "action": "click", "user_id": "ann", "session_id": "tab", "item_id": clicked,
         "request_id": slate["request_id"]},
        {"event_id": "of-bob", "action": "click", "user_id": "bob", "item_id": clicked},
        {"event_id": "broken", "action": "dance", "user_id": "ann"},
    ]  # fmt: skip
    response = await client.post("/v1/events", json=events)
    assert response.json()["accepted"] == 3
    await client.post("/v1/recommend", json={"user_id": "ann"})
    engine.served_writer.flush()
    engine.joiner.catch_up()
    return dict(slate)


def test_everything_known_of_a_user_is_exported_and_nothing_of_others(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        slate = await fill(client, engine)
        found = (await client.get("/v1/users/ann")).json()
        clicked = slate["items"][0]["item_id"]
        assert found["record"] == {
            "user_id": "ann", "attributes": {"country": "CH"}, "tenant": "default",
        }  # fmt: skip
        assert [event["event_id"] for event in found["events"]] == ["before-login", "click"]
        states = {state["subject"]: state for state in found["states"]}
        assert set(states) == {"u:ann", "s:tab"}
        assert states["u:ann"]["recent_items"] == states["u:ann"]["seen_items"] == [clicked]
        assert all(states["u:ann"]["vectors"].values())
        assert len(found["slates"]) == 2
        assert found["slates"][0]["request_id"] == slate["request_id"]
        assert [outcome["item_id"] for outcome in found["slates"][0]["outcomes"]] == [clicked]
        assert [letter["reason"] for letter in found["dead_letters"]] == ["unknown_action"]
        assert "bob" not in str(found)
        nobody = await client.get("/v1/users/never-seen")
        assert (nobody.status_code, error_of(nobody)["code"]) == (404, "unknown_user")


@pytest.fixture(params=["lmdb", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    if request.param == "lmdb":
        yield PATIENT
    else:
        with running_server(tmp_path) as server:
            yield Settings(budget=PATIENT.budget, store=StoreSettings(url=server.url, timeout_ms=5_000.0))


def test_an_erased_user_is_in_no_place_any_more_and_others_are(home: Path, settings: Settings) -> None:
    @scenario(home, settings)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        before = engine.event_log.last()
        await fill(client, engine)
        erased = (await client.delete("/v1/users/ann")).json()
        assert {name: erased[name] for name in ("record", "events", "states", "dead_letters")} == {
            "record": True, "events": 2, "states": 2, "dead_letters": 1,
        }  # fmt: skip
        assert erased["slates"] >= 2
        assert (await client.get("/v1/users/ann")).status_code == 404
        assert [event.event_id for _, event in engine.event_log.read(before, 10)] == ["of-bob"]
        assert engine.event_log.last() == before + 3, "numbers are never given out again"
        again = (await client.post("/v1/recommend", json={"user_id": "ann"})).json()
        assert again["state_version"] == 0
        # What a consumer had read before the erasure and delivers only now changes nothing.
        engine.applier.catch_up()
        assert (await client.post("/v1/recommend", json={"user_id": "ann"})).json()["state_version"] == 0
        assert (await client.post("/v1/recommend", json={"user_id": "bob"})).json()["state_version"] == 1
        # She may come back.
        await client.post("/v1/events", json={"action": "app_open", "user_id": "ann"})
        assert (await client.post("/v1/recommend", json={"user_id": "ann"})).json()["state_version"] == 1


def test_the_next_training_set_has_nothing_of_an_erased_user(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        await fill(client, engine)
        assert {"u:ann", "u:bob"} <= set(world_of(engine.event_log, engine.records).columns.users)
        await client.delete("/v1/users/ann")
        users = set(world_of(engine.event_log, engine.records).columns.users)
        assert "u:bob" in users
        assert not {"u:ann", "s:tab"} & users


def test_without_consent_nothing_is_kept_and_nothing_is_personal(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        last = engine.event_log.last()
        silent = {"action": "click", "user_id": "cleo", "item_id": "x", "consent": False}
        response = await client.post("/v1/events", json=[silent, {**silent, "action": "dance"}])
        assert (response.json()["accepted"], response.json()["withheld"]) == (0, 1)
        assert response.json()["rejected"][0]["reason"] == "unknown_action"
        assert engine.event_log.last() == last
        await client.post("/v1/recommend", json={"user_id": "cleo", "consent": False})
        engine.served_writer.flush()
        assert (await client.get("/v1/users/cleo")).status_code == 404
        await client.post("/v1/events", json={"action": "click", "user_id": "dora", "item_id": "x"})
        personal, not_personal = [
            (await client.post("/v1/recommend", json={"user_id": "dora", "consent": consent})).json()
            for consent in (True, False)
        ]
        assert (personal["state_version"], not_personal["state_version"]) == (1, 0)
        ranked = await client.post("/v1/rank", json={"user_id": "dora", "items": ["x"], "consent": False})
        assert ranked.status_code == 200
