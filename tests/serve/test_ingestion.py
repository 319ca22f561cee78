"""Events over HTTP beyond the happy path: dead letters, Avro, pressure, stores out of reach, several workers."""

import asyncio
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.conftest import PATIENT, error_of, running
from upnext.clock import Deadline, ManualClock
from upnext.contracts.avro_body import encode_single_object
from upnext.contracts.families import REGISTRY
from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.serve.engine import Engine
from upnext.settings import IngestSettings, Settings
from upnext.store.interface import Store, Values

GOOD = {"action": "click", "user_id": "ann", "item_id": "x"}


def scenario(home: Path, settings: Settings = PATIENT) -> Any:
    def run(body: Any) -> None:
        async def inside() -> None:
            async with running(home, settings) as (client, engine):
                await body(client, engine)

        asyncio.run(inside())

    return run


async def version(client: httpx.AsyncClient, user: str = "ann") -> int:
    return int((await client.post("/v1/recommend", json={"user_id": user})).json()["state_version"])


def test_refused_parts_are_kept_byte_for_byte_and_can_be_listed_and_shown(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        part = b'{"action":"click" , "user_id":"ann","item_id":"x","timestamp_ms":1700000000, "producer":"web"}'
        body = b'[{"action":"app_open","user_id":"ann"},' + part + b"]"
        response = await client.post("/v1/events", content=body)
        assert response.json()["rejected"][0]["reason"] == "timestamp_in_seconds"
        page = (await client.get("/v1/deadletters?reason=timestamp_in_seconds")).json()
        (letter,) = page["letters"]
        assert letter["text"].encode() == part
        assert (letter["producer"], letter["kind"], letter["path"]) == ("web", "event", "$[1].timestamp_ms")
        assert (page["waiting"], page["by_reason"]) == (1, {"timestamp_in_seconds": 1})
        assert (await client.get(f"/v1/deadletters/{letter['number']}")).json() == letter
        assert (await client.get("/v1/deadletters?reason=other")).json()["letters"] == []
        unknown = await client.get("/v1/deadletters/999")
        assert (unknown.status_code, error_of(unknown)["code"]) == (404, "unknown_dead_letter")
        await client.post("/v1/events", content=b"\xff\xfe")
        broken = (await client.get("/v1/deadletters?after=1")).json()["letters"]
        assert [b64decode(each["base64"]) for each in broken] == [b"\xff\xfe"]


def test_a_letter_that_passes_later_is_replayed_once_and_applied(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        now_ms = engine.clock.now_ms()
        early = {**GOOD, "timestamp_ms": now_ms + 3_600_000}
        assert (await client.post("/v1/events", json=early)).status_code == 422
        nothing = await client.post("/v1/deadletters/replay", json={})
        assert nothing.status_code == 400
        still = (await client.post("/v1/deadletters/replay", json={"all": True})).json()
        assert (still["replayed"], still["still_refused"]) == (0, 1)
        engine.clock = ManualClock(now_ms + 3_600_000)
        done = (await client.post("/v1/deadletters/replay", json={"reason": "timestamp_in_future"})).json()
        assert (done["replayed"], done["still_refused"]) == (1, 0)
        again = (await client.post("/v1/deadletters/replay", json={"all": True})).json()
        assert (again["replayed"], again["duplicates"]) == (0, 0)
        assert await version(client) == 1


def test_avro_events_come_in_by_the_same_door(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        schema = REGISTRY.latest("interaction")
        record = {
            "event_id": "avro-1", "action": "click", "timestamp_ms": engine.clock.now_ms(), "user_id": "ann",
            "item_id": "x", "tenant": "default", "consent": True, "producer": "app", "schema_version": schema.version,
        }  # fmt: skip
        body = encode_single_object(record, schema) + encode_single_object({**record, "event_id": "avro-2"}, schema)
        response = await client.post("/v1/events", content=body, headers={"content-type": "avro/binary"})
        assert (response.json()["accepted"], response.json()["rejected"]) == (2, [])
        assert await version(client) == 2
        framed = await client.post(
            "/v1/events", content=b"\x00\x00\x00\x00\x07" + body[10:], headers={"content-type": "avro/binary"}
        )
        assert framed.status_code == 422
        assert "single-object" in error_of(framed)["message"]


def test_an_event_of_another_tenant_is_refused(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        response = await client.post("/v1/events", json={**GOOD, "tenant": "rival"})
        assert (response.status_code, error_of(response)["code"]) == (422, "wrong_tenant")


def test_too_many_events_at_once_are_refused_as_a_whole(home: Path) -> None:
    settings = Settings(budget=PATIENT.budget, ingest=IngestSettings(queue_events=3))

    @scenario(home, settings)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        last = engine.event_log.last()
        posts = [client.post("/v1/events", json=[GOOD, GOOD]) for _ in range(6)]
        responses = await asyncio.gather(*posts)
        refused = [response for response in responses if response.status_code == 503]
        taken = [response for response in responses if response.status_code == 200]
        assert refused
        assert taken
        assert {error_of(response)["code"] for response in refused} == {"overloaded"}
        assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
        assert engine.event_log.last() == last + 2 * len(taken), "nothing of a refused request was taken"
        assert (await client.post("/v1/events", json=GOOD)).status_code == 200, "and it passes"


@pytest.mark.parametrize("ingest", [IngestSettings(reserve_bytes=2**60), IngestSettings(lag_events=1)])
def test_a_full_disk_and_states_far_behind_hold_producers_back(home: Path, ingest: IngestSettings) -> None:
    @scenario(home, Settings(budget=PATIENT.budget, ingest=ingest))
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        engine.pressure.measure(lag_events=2)
        for path, body in (("/v1/events", GOOD), ("/v1/items", {"item_id": "x"})):
            response = await client.post(path, json=body)
            assert (response.status_code, error_of(response)["code"]) == (503, "overloaded")
            assert response.headers["retry-after"] == "1"
        assert (await client.post("/v1/recommend", json={})).status_code == 200


class _OutOfReach:
    """A store that nobody can reach for the time being."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.down = False

    def __getattr__(self, name: str) -> Any:
        if self.down and name in ("get_many", "put_many", "swap_many", "update", "delete_many"):
            raise StoreError("connection refused; start the store")
        return getattr(self.store, name)

    def get_many(self, keys: Any, deadline: Deadline) -> Values:
        if self.down:
            raise StoreError("connection refused; start the store")
        return self.store.get_many(keys, deadline)


def test_while_the_store_is_out_of_reach_events_are_durable_and_slates_go_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[_OutOfReach] = []

    def opened(*arguments: Any) -> Any:
        from upnext.store.opening import open_store

        stores.append(_OutOfReach(open_store(*arguments)))
        return stores[-1]

    monkeypatch.setattr("upnext.serve.engine.open_store", opened)

    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        (store,) = stores
        await client.post("/v1/events", json=GOOD)
        store.down = True
        last = engine.event_log.last()
        response = await client.post("/v1/events", json=GOOD)
        assert response.json() | {"applied": False, "accepted": 1} == response.json()
        assert engine.event_log.last() == last + 1
        slate = (await client.post("/v1/recommend", json={"user_id": "ann"})).json()
        assert len(slate["items"]) == 20
        assert {"stage": "state", "why": "error"} in slate["degraded"]
        ranked = await client.post("/v1/rank", json={"user_id": "ann", "items": [slate["items"][0]["item_id"]]})
        assert (ranked.status_code, ranked.json()["tier"], len(ranked.json()["items"])) == (200, "full", 1)
        store.down = False
        engine.applier.catch_up()
        while await version(client) != 2:  # what was acknowledged while it was down is applied later
            await asyncio.sleep(0.01)


def test_an_event_appended_and_not_applied_by_a_killed_worker_is_applied_by_the_next(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        await client.post("/v1/events", json=GOOD)
        left = Event(
            event_id="by-the-killed", action="click", timestamp_ms=1_760_000_000_000, user_id="ann", item_id="y"
        )
        engine.event_log.append([left])

    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        assert await version(client) == 2


def test_an_event_acknowledged_by_one_worker_is_in_the_next_slate_of_another(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        async with running(home) as (other, _):
            for turn in range(1, 21):
                sender, reader = (client, other) if turn % 2 else (other, client)
                await sender.post("/v1/events", json={**GOOD, "item_id": f"i{turn}"})
                assert await version(reader) == turn


def test_two_workers_that_handle_one_users_events_at_once_lose_none(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        async with running(home) as (other, _):
            posts = [
                each.post("/v1/events", json={**GOOD, "item_id": f"{name}{number}"})
                for number in range(40)
                for name, each in (("a", client), ("b", other))
            ]
            assert all(response.json()["applied"] for response in await asyncio.gather(*posts))
            assert await version(client) == await version(other) == 80


def test_a_served_slate_is_joined_to_what_became_of_it(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        slate = (await client.post("/v1/recommend", json={"user_id": "ann", "k": 3, "surface": "home"})).json()
        shown, clicked = slate["items"][0]["item_id"], slate["items"][2]["item_id"]
        named = {"user_id": "ann", "request_id": slate["request_id"]}
        events = [{**named, "action": "impression", "item_id": shown, "context": {"position": 1}}]
        events += [{**named, "action": "purchase", "item_id": clicked, "value": 9.5}]
        await client.post("/v1/events", json=events)
        engine.served_writer.flush()
        engine.joiner.catch_up()
        joined = engine.served.get(slate["request_id"])
        assert joined is not None
        assert joined.slate.item_ids == [item["item_id"] for item in slate["items"]]
        assert (joined.slate.surface, joined.slate.tier) == ("home", "full")
        assert joined.impressions()[shown].position == 1
        assert joined.choices()[clicked].value == 9.5
        assert joined.slate.cross_features().shape[0] == 3
        assert joined.slate.spec == engine.live.funnel.spec_digest
