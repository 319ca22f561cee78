"""Shortlists as a client sees them: the route of each response, and slates that follow every click at once."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.redis_servers import running_server
from tests.serve.conftest import PATIENT, running
from upnext.clock import Deadline
from upnext.domain.event import Event
from upnext.ingest.consumer import stored_generation
from upnext.serve.engine import Engine
from upnext.settings import AheadSettings, Settings, StoreSettings
from upnext.state.apply import apply_events
from upnext.state.session_consumer import SESSION
from upnext.state.shortlist import Shortlist, shortlist_key
from upnext.store.opening import open_store

Scenario = Callable[[httpx.AsyncClient, Engine], Awaitable[None]]


def scenario(home: Path, settings: Settings = PATIENT) -> Callable[[Scenario], None]:
    """Runs the decorated coroutine beside a running application."""

    def run(body: Scenario) -> None:
        async def inside() -> None:
            async with running(home, settings) as (client, engine):
                await body(client, engine)

        asyncio.run(inside())

    return run


async def ask(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/v1/recommend", json={"user_id": "ann", "k": 5, **fields})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def tell(client: httpx.AsyncClient, action: str, item_id: str | None = None, **fields: Any) -> None:
    event = {"action": action, "user_id": "ann", **({"item_id": item_id} if item_id else {}), **fields}
    assert (await client.post("/v1/events", json=event)).json()["applied"]


def ids(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def test_the_same_slate_comes_from_the_shortlist_until_a_click_and_then_anew(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        first = await ask(client)
        assert (first["route"], first["route_why"], first["tier"]) == ("live", "absent", "full")
        second = await ask(client)
        assert (second["route"], second["route_why"], second["tier"]) == ("shortlist", "unchanged", "full")
        assert (ids(second), second["exit"]) == (ids(first), first["exit"])
        assert set(second["timing_ms"]) == {"reranking", "total"}
        await tell(client, "click", ids(first)[0])
        third = await ask(client)
        assert (third["route"], third["state_version"]) == ("live", 1)
        assert ids(first)[0] not in ids(third)


def test_a_search_a_dislike_and_a_hover_end_what_was_worked_out_before_and_an_impression_does_not(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        await tell(client, "click", ids(await ask(client))[0])
        first = ids(await ask(client))
        engine.ahead.shortlists.write()  # after any event it is looked for in the store
        await tell(client, "impression", first[0])
        again = await ask(client)
        assert (again["route"], again["route_why"]) == ("shortlist", "unchanged")
        asked = []
        for action, told in (
            ("search", {"query": "thriller"}),
            ("dislike", {"item_id": first[0]}),
            ("hover", {"item_id": first[1]}),
        ):
            await tell(client, action, **told)
            slate = await ask(client)
            assert (slate["route"], slate["route_why"], slate["tier"]) == ("live", "chosen", "full")
            asked.append(ids(slate))
            assert (await ask(client))["route"] == "shortlist"
        assert asked[0] != first
        assert first[0] not in asked[1]


def test_rules_hold_for_a_shortlist_as_for_any_slate(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        first = ids(await ask(client))
        withdrawn, disliked, excluded = first[:3]
        assert (await client.delete(f"/v1/items/{withdrawn}")).status_code == 200
        await tell(client, "dislike", disliked)
        slate = await ask(client, exclude=[excluded])
        assert not {withdrawn, disliked, excluded} & set(ids(slate))
        assert len(ids(slate)) == 5


def test_a_slate_that_would_come_up_short_is_made_live(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        many = ids(await ask(client, k=100))
        slate = await ask(client, k=10, exclude=many[:95])
        assert (slate["route"], slate["route_why"], len(slate["items"])) == ("live", "short", 10)


def test_reuse_can_be_switched_off(home: Path) -> None:
    @scenario(home, Settings(budget=PATIENT.budget, ahead=AheadSettings(reuse=False)))
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        assert [(await ask(client))["route"] for _ in range(3)] == ["live"] * 3


def test_nobodys_slate_is_worked_out_once(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        routes = [(await ask(client, consent=consent))["route"] for consent in (False, False, True)]
        assert routes == ["live", "shortlist", "live"]


def test_of_many_who_ask_for_the_same_at_once_one_works(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        live = engine.live
        assert live is not None
        asked, go_on, score = [], threading.Event(), live.funnel.ranker.score

        def slow(*arguments: Any) -> Any:
            asked.append(1)
            go_on.wait(30)
            return score(*arguments)

        live.funnel.ranker.score = slow  # type: ignore[union-attr, method-assign]
        slates = [asyncio.create_task(ask(client)) for _ in range(8)]
        while len(asked) < 1:
            await asyncio.sleep(0.001)
        late = asyncio.create_task(ask(client, budget_ms=1))
        assert {"stage": "funnel", "why": "deadline"} in (await late)["degraded"]
        go_on.set()
        found = await asyncio.gather(*slates)
        assert len(asked) == 1
        assert sorted(slate["route_why"] for slate in found) == ["absent"] + ["shared"] * 7
        assert len({tuple(ids(slate)) for slate in found}) == 1
        assert {slate["tier"] for slate in found} == {"full"}


def test_whoever_asks_after_an_event_is_not_given_what_began_before_it(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        live = engine.live
        assert live is not None
        clicked = ids(await ask(client, consent=False))[0]
        asked, go_on, score = [], threading.Event(), live.funnel.ranker.score

        def slow(*arguments: Any) -> Any:
            asked.append(1)
            go_on.wait(30)
            return score(*arguments)

        live.funnel.ranker.score = slow  # type: ignore[union-attr, method-assign]
        before = asyncio.create_task(ask(client))
        while not asked:
            await asyncio.sleep(0.001)
        await tell(client, "click", clicked)
        after = asyncio.create_task(ask(client))
        for _ in range(100):  # until it waits for the ranker too, or for the other's slate
            await asyncio.sleep(0)
        go_on.set()
        assert (await before)["state_version"] == 0
        slate = await after
        assert (slate["state_version"], slate["route_why"]) == (1, "absent")
        assert clicked not in ids(slate)


def test_what_is_kept_of_somebody_who_changed_or_was_erased_does_not_stay_in_memory(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        shortlists = engine.ahead.shortlists
        await ask(client)
        await ask(client, user_id="bob")
        await tell(client, "click", "x")
        assert len(shortlists.l1) == 2
        shortlists.sweep()
        assert len(shortlists.l1) == 1
        assert "shortlists" in (await client.delete("/v1/users/bob")).json()["message"]
        shortlists.sweep()
        assert len(shortlists.l1) == 0


@pytest.mark.parametrize("remote", [False, True], ids=["lmdb", "redis"])
def test_what_the_store_holds_answers_a_worker_that_has_nothing_at_hand(
    home: Path, tmp_path: Path, remote: bool
) -> None:
    def check(settings: Settings) -> None:
        @scenario(home, settings)
        async def _(client: httpx.AsyncClient, engine: Engine) -> None:
            await tell(client, "click", ids(await ask(client))[0])
            live = await ask(client)
            engine.ahead.shortlists.write()
            engine.ahead.shortlists.l1.drop(("u:ann", "", ()))
            stored = await ask(client)
            assert (live["route"], stored["route"]) == ("live", "shortlist")
            assert ids(stored) == ids(live)
            assert (await ask(client))["timing_ms"].keys() == {"reranking", "total"}, "now it is at hand"

    if not remote:
        check(PATIENT)
        return
    with running_server(tmp_path) as server:
        check(Settings(budget=PATIENT.budget, store=StoreSettings(url=server.url, timeout_ms=5_000.0)))


def test_the_shortlist_is_told_to_its_user_and_erased_with_the_rest(home: Path) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        await tell(client, "click", ids(await ask(client))[0])
        await ask(client)
        engine.ahead.shortlists.write()
        (told,) = (await client.get("/v1/users/ann")).json()["shortlists"]
        assert (told["subject"], told["origin"]) == ("u:ann", "live")
        await client.delete("/v1/users/ann")
        assert list(engine.store.scan(b"shortlist/")) == []
        slate = await ask(client)
        assert (slate["route"], slate["state_version"]) == ("live", 0)


@pytest.mark.parametrize(("action", "origin"), [("pause", "prefetch"), ("app_open", "speculation")])
def test_what_a_pause_or_the_opening_of_the_app_calls_for_is_there_before_it_is_asked_for(
    home: Path, action: str, origin: str
) -> None:
    @scenario(home)
    async def _(client: httpx.AsyncClient, engine: Engine) -> None:
        watched = ids(await ask(client, consent=False))[0]
        await tell(client, "play", watched)
        await tell(client, action, watched if action == "pause" else None)
        await until(lambda: engine.ahead.occasions.made == 1)
        engine.ahead.shortlists.write()
        slate = await ask(client)
        assert (slate["route"], slate["tier"], slate["state_version"]) == ("prefetched", "full", 2)
        assert watched not in ids(slate)
        stored = Shortlist.unpack(engine.store.get_many([shortlist_key("u:ann")], Deadline.never(engine.clock))[0])
        assert stored is not None
        assert stored.origin == origin
        # Once more, with nothing chosen since: it is there already, and nobody works.
        made_ms = stored.made_ms
        await tell(client, "app_open")
        await until(lambda: engine.ahead.occasions.made == 2)
        engine.ahead.shortlists.write()
        again = Shortlist.unpack(engine.store.get_many([shortlist_key("u:ann")], Deadline.never(engine.clock))[0])
        assert again is not None
        assert again.made_ms == made_ms


def test_a_change_by_another_machine_ends_what_is_at_hand_within_moments(home: Path, tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        store_settings = StoreSettings(url=server.url, timeout_ms=5_000.0)

        @scenario(home, Settings(budget=PATIENT.budget, store=store_settings))
        async def _(client: httpx.AsyncClient, engine: Engine) -> None:
            chosen = ids(await ask(client))[0]
            await tell(client, "click", chosen)
            await until(lambda: engine.ahead.feed.trusted)
            await asyncio.wait_for(until_at_hand(client), 60)  # the click may still be on its way back from the store
            before = engine.ahead.changes.of("u:ann")
            other = open_store(home, store_settings, engine.clock)
            never = Deadline.never(engine.clock)
            event = Event(event_id="there", action="click", timestamp_ms=1, user_id="ann", item_id=chosen)
            generation = stored_generation(SESSION, other, never)
            apply_events([(1_000_000, event)], other, None, engine.settings.state, never, generation)
            other.close()
            await until(lambda: engine.ahead.changes.of("u:ann") != before)
            slate = await ask(client)
            assert (slate["route"], slate["state_version"]) == ("live", 2)


async def until_at_hand(client: httpx.AsyncClient) -> None:
    """Asks until a shortlist answers."""
    while (await ask(client))["route"] != "shortlist":
        await asyncio.sleep(0.002)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the event loop turn until the condition holds."""
    while not condition():
        await asyncio.sleep(0.002)
