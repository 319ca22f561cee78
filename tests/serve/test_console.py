"""The console's figures are those of what was counted; whoever may not see them does not, and no stream stays open."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.serve.conftest import error_of, running
from upnext.clock import ManualClock, SystemClock
from upnext.metrics.recorder import Metrics
from upnext.release.manifest import sealed, write_manifest
from upnext.release.releases import Releases
from upnext.serve.access import RULES, Needs
from upnext.serve.console import MOST_STREAMS, Console
from upnext.serve.disconnect import DRAINS
from upnext.serve.figures import FiguresResponse, Standing, Tail
from upnext.serve.live_figures import LiveFigures, Sampler


def sampler_of() -> tuple[Sampler, Metrics, ManualClock]:
    metrics, clock = Metrics(), ManualClock()
    return Sampler(metrics, clock), metrics, clock


def look(sampler: Sampler, clock: ManualClock, window_s: int = 60) -> FiguresResponse:
    clock.advance(2_000)
    sampler.sample(Standing(release="r1", breakers={"ranker": "open"}))
    return msgspec.json.decode(sampler.figures(window_s), type=FiguresResponse)


def tail_of(tails: list[Tail], name: str) -> Tail:
    return next(each for each in tails if each.name == name)


def test_figures_are_those_of_the_window_and_not_of_what_was_before() -> None:
    sampler, metrics, clock = sampler_of()
    for _ in range(1_000):
        metrics.count_request("popular", "live", {"total": 900.0})
    look(sampler, clock)
    for n in range(100):
        ms = 40.0 if n >= 96 else 2.0
        metrics.count_request("full", "live", {"retrieval": 1.0, "total": ms}, region="north", n_interactions=600)
    for _ in range(300):
        metrics.count_request("fast", "shortlist", {"total": 4.0}, n_interactions=3)
    metrics.count_rejected("unknown_action")
    metrics.count_ingested(8, duplicates=2)
    metrics.count_breaker("ranker", "open")
    for tenant, n in (("default", 1), ("other", 2)):
        metrics.set_gauge("breakers_open", n, tenant, "ranker")
        metrics.set_gauge("breakers_open", n, tenant, "store")
    metrics.count_degraded("ranking", "deadline")
    found = look(sampler, clock)
    assert found.covers_s == 2.0
    total = tail_of(found.stages, "total")
    assert (total.n, total.per_s) == (400, 200.0)
    assert total.p50_ms == pytest.approx(4.0, rel=0.011)
    assert total.p999_ms == pytest.approx(40.0, rel=0.011)
    assert tail_of(found.stages, "retrieval").p99_ms == pytest.approx(1.0, rel=0.011)
    assert {each.name: each.n for each in found.tiers} == {"full": 100, "fast": 300}
    assert {each.name: each.n for each in found.routes} == {"live": 100, "shortlist": 300}
    assert tail_of(found.regions, "north").n == 100
    assert [(each.name, each.share) for each in found.tier_shares] == [("fast", 0.75), ("full", 0.25)]
    assert [(each.name, each.n) for each in found.rejected] == [("unknown_action", 1)]
    assert [(each.name, each.per_s) for each in found.events] == [("accepted", 4.0), ("duplicate", 1.0)]
    (breaker,) = found.breakers
    assert (breaker.name, breaker.state, breaker.workers_open, breaker.opened) == ("ranker", "open", 3, 1)
    assert found.gauges["breakers_open"]["other store"] == 2
    assert [each.name for each in found.degraded] == ["ranking: deadline"]
    point = found.points[-1]
    assert (point.per_s, point.tiers["full"], point.accepted_per_s, point.rejected_per_s) == (200.0, 0.25, 4.0, 0.5)


def test_power_users_are_told_apart_from_all_others() -> None:
    sampler, metrics, clock = sampler_of()
    look(sampler, clock)
    for n_interactions, ms in ((0, 1.0), (3, 2.0), (80, 3.0), (5_000, 90.0)):
        metrics.count_request("full", "live", {"total": ms}, n_interactions=n_interactions)
    *_, power, rest = look(sampler, clock).histories
    assert (power.name, rest.name) == ("500+", "0-499")
    assert (power.n, rest.n) == (1, 3)
    assert power.p99_ms == pytest.approx(90.0, rel=0.011)
    assert rest.p50_ms == pytest.approx(2.0, rel=0.011)


def test_a_short_window_forgets_what_a_longer_one_still_has() -> None:
    sampler, metrics, clock = sampler_of()
    look(sampler, clock)
    metrics.count_request("full", "live", {"total": 70.0})
    for _ in range(10):
        look(sampler, clock)
    short, long = look(sampler, clock, 10), msgspec.json.decode(sampler.figures(60), type=FiguresResponse)
    assert short.tiers == []
    assert [each.n for each in long.tiers] == [1]
    assert len(long.points) == 11
    assert len(json.loads(sampler.figures(60, tick=True))["points"]) == 1


def test_all_who_ask_between_two_looks_get_the_very_same_bytes() -> None:
    sampler, _, clock = sampler_of()
    look(sampler, clock)
    look(sampler, clock)
    assert sampler.figures(60) is sampler.figures(60)


def test_it_looks_only_while_somebody_watches_or_has_just_asked() -> None:
    async def scenario() -> None:
        live = LiveFigures(Sampler(Metrics(), SystemClock()), Standing, every_s=0.005, first_s=0.005, idle_s=0.02)
        assert not live.at_work
        assert json.loads(await live.current(60))["covers_s"] > 0
        assert live.at_work
        while live.at_work:
            await asyncio.sleep(0.005)
        assert json.loads(await live.current(60))["release"] == ""  # and again, after the rest
        updates = live.updates(60)
        for _ in range(8):
            assert json.loads(await anext(updates))["points"]
        assert live.at_work
        await updates.aclose()
        live.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_counts_that_cannot_be_read_are_an_error_and_leave_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        metrics = Metrics()
        monkeypatch.setattr(metrics, "totals", lambda: (_ for _ in ()).throw(OSError("gone")))
        live = LiveFigures(Sampler(metrics, SystemClock()), Standing)
        with pytest.raises(Exception, match="cannot be read"):
            await live.current(60)
        live.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


class Client:
    """One who reads a stream until they leave."""

    def __init__(self, query: bytes = b"window_s=10", drains: bool = False) -> None:
        self.scope: dict[str, Any] = {"query_string": query, DRAINS: lambda: self.drains}
        self.drains = drains
        self.left = asyncio.Event()
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.heard.put_nowait(message)


@asynccontextmanager
async def console(home: Path) -> AsyncIterator[Console]:
    async with running(home) as (_, engine):
        live = LiveFigures(Sampler(Metrics(), SystemClock()), Standing, every_s=0.005, first_s=0.0)
        made = Console(engine, Metrics(), live=live)
        yield made
        made.close()


async def figures_of(client: Client) -> dict[str, Any]:
    event = (await client.heard.get())["body"].decode()
    assert event.startswith("event: figures\ndata: {")
    assert event.endswith("}\n\n")
    return dict(json.loads(event.removeprefix("event: figures\ndata: ")))


def test_a_stream_goes_on_until_its_client_leaves(home: Path) -> None:
    async def scenario() -> None:
        async with console(home) as made:
            client = Client()
            task = asyncio.create_task(made.stream(client.scope, client.receive, client.send))
            start = await client.heard.get()
            assert dict(start["headers"])[b"content-type"] == b"text/event-stream"
            assert [(await figures_of(client))["window_s"] for _ in range(3)] == [10, 10, 10]
            client.left.set()
            await task

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_stream_ends_when_the_server_drains(home: Path) -> None:
    async def scenario() -> None:
        async with console(home) as made:
            client = Client()
            task = asyncio.create_task(made.stream(client.scope, client.receive, client.send))
            await client.heard.get()
            await figures_of(client)
            client.drains = True
            await task
            last = [client.heard.get_nowait() for _ in range(client.heard.qsize())][-1]
            assert last["body"].startswith(b"event: end")
            assert not last.get("more_body", False)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_there_are_only_so_many_streams_and_places_are_given_back(home: Path) -> None:
    async def scenario() -> None:
        async with console(home) as made:
            clients = [Client() for _ in range(MOST_STREAMS)]
            tasks = [asyncio.create_task(made.stream(each.scope, each.receive, each.send)) for each in clients]
            for each in clients:
                await each.heard.get()
            late = Client()
            await made.stream(late.scope, late.receive, late.send)
            assert (await late.heard.get())["status"] == 503
            assert b"too_many_streams" in (await late.heard.get())["body"]
            for each in clients:
                each.left.set()
            await asyncio.gather(*tasks)
            again = Client(drains=True)
            await made.stream(again.scope, again.receive, again.send)
            assert (await again.heard.get())["status"] == 200

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_figures_tell_how_the_worker_stands(home: Path) -> None:
    async def scenario() -> None:
        async with running(home) as (client, engine):
            await client.get("/v1/ops/figures")
            await client.post("/v1/recommend", json={"user_id": "u1"})
            found = (await client.get("/v1/ops/figures", params={"window_s": 300})).json()
            assert engine.live is not None
            assert found["release"] == engine.live.release_id
            assert {each["name"] for each in found["breakers"]} == set(engine.breakers)
            assert found["steering"][0] == {"region": "", "quality": 1.0, "guard": False}
            assert {each["region"] for each in found["steering"]} == {"", *engine.live.funnel.catalog.regions}
            response = await client.get("/v1/ops/figures", params={"window_s": 61})
            assert response.status_code == 400
            assert error_of(response)["path"] == "$.window_s"

    asyncio.run(scenario())


def test_the_page_and_its_files_are_served_with_the_headers_that_browsers_heed(home: Path) -> None:
    async def scenario() -> None:
        async with running(home) as (client, _):
            page = await client.get("/console")
            assert page.status_code == 200
            assert "default-src 'self'" in page.headers["content-security-policy"]
            for path in ("/console/static/console.js", "/console/static/nothing.js"):
                assert (await client.get(path)).status_code == 404  # names hold a digest
            (script,) = (part for part in page.text.split('"') if part.endswith(".js"))
            assert (await client.get(script)).headers["content-type"].startswith("text/javascript")

    asyncio.run(scenario())


def test_figures_need_the_operator_of_the_server_and_the_rest_the_tenants() -> None:
    needs = Needs(RULES)
    assert needs.named("GET", "/v1/ops/figures") == needs.named("GET", "/v1/ops/stream") == "operate the server"
    for method, path in (
        ("GET", "/v1/ops/releases"), ("POST", "/v1/ops/releases/r1/activate"), ("POST", "/v1/ops/releases/rollback"),
        ("GET", "/v1/ops/users/ann"), ("POST", "/v1/ops/explain"),
    ):  # fmt: skip
        assert needs.named(method, path) == "operate"
    assert needs.named("GET", "/console") == needs.named("GET", "/console/static/console-1.js") == "nothing"


def second_release(home: Path) -> str:
    """The active release once more, under another id."""
    releases = Releases(home)
    first = releases.open_active()
    manifest = sealed(msgspec.structs.replace(first.manifest, created_ms=first.manifest.created_ms + 1, notes="again"))
    folder = releases.folder / manifest.id
    folder.mkdir()
    for part in manifest.parts.values():
        (folder / part.file).hardlink_to(first.folder / part.file)
    write_manifest(manifest, folder)
    return manifest.id


def test_releases_are_listed_activated_and_rolled_back(home: Path) -> None:
    async def scenario() -> None:
        async with running(home) as (client, engine):
            assert engine.live is not None
            first, second = engine.live.release_id, second_release(home)
            engine.releases.evaluations.keep(first, "time", b'{"systems": {"funnel": {"ndcg@10": 0.2}}}')
            found = (await client.get("/v1/ops/releases")).json()
            evaluations = [each["evaluations"].get("time") for each in found["releases"]]
            assert evaluations == [None, {"systems": {"funnel": {"ndcg@10": 0.2}}}]
            assert [each["id"] for each in found["releases"]] == [second, first]
            assert (found["active"], found["before"]) == (first, None)
            assert "parity" in found["releases"][0]["reports"]
            assert (await client.post("/v1/ops/releases/rollback")).status_code == 409
            answer = (await client.post(f"/v1/ops/releases/{second}/activate")).json()
            assert answer == {"active": second, "before": first}
            assert (await client.post("/v1/ops/releases/rollback")).json() == {"active": first, "before": None}
            await _refusals(client, home, first, second)

    asyncio.run(scenario())


async def _refusals(client: httpx.AsyncClient, home: Path, first: str, second: str) -> None:
    unknown = await client.post("/v1/ops/releases/nothing/activate")
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "unknown_release")
    manifest = home / "releases" / second / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"again"', b'"other"'))
    damaged = await client.post(f"/v1/ops/releases/{second}/activate")
    assert (damaged.status_code, error_of(damaged)["code"]) == (409, "release_refused")
    found = (await client.get("/v1/ops/releases")).json()
    assert found["active"] == first
    assert "altered" in next(each for each in found["releases"] if each["id"] == second)["problem"]
