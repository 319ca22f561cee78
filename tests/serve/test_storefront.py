"""The storefront over a running application: what is on the page, for whom, by which rules, and where it is served."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.serve.conftest import PATIENT, error_of, running
from upnext.clock import SystemClock
from upnext.metrics.recorder import Metrics
from upnext.serve.app import create_app
from upnext.serve.engine import Engine
from upnext.serve.keys import KEYS_FILE, Keys
from upnext.settings import RerankingSettings, ServeSettings, Settings

ROW = re.compile(r'<section class="row" data-row="([^"]*)"(.*?)</section>', re.DOTALL)
CARD = re.compile(r'<li class="card" data-item="([^"]*)" data-genre="([^"]*)"')


def scenario(home: Path, act: Callable[[httpx.AsyncClient, Engine], Awaitable[None]], settings: Settings) -> None:
    async def run() -> None:
        async with running(home, settings) as (client, engine):
            await act(client, engine)

    asyncio.run(run())


def rows_of(html: str) -> dict[str, list[tuple[str, str]]]:
    """Item and genre of every card, by row."""
    return {key: CARD.findall(body) for key, body in ROW.findall(html)}


def why_of(html: str, row: str) -> str:
    body = next(body for key, body in ROW.findall(html) if key == row)
    return re.sub(r"<[^>]+>", "", body[body.index('class="why"') :].partition(">")[2]).strip()


async def page(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    response = await client.post("/demo/page", json=asked)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def click(client: httpx.AsyncClient, item_id: str, **who: str) -> None:
    response = await client.post("/v1/events", json={"action": "click", "item_id": item_id, **who})
    assert response.json()["accepted"] == 1


def items(html: str) -> list[str]:
    return [item for cards in rows_of(html).values() for item, _ in cards]


def test_the_first_page_is_whole_and_shows_nothing_twice(home: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        for path in ("/demo", "/demo?user=u00003"):
            response = await client.get(path)
            assert response.status_code == 200
            assert "default-src 'self'" in response.headers["content-security-policy"]
            assert response.headers["cache-control"] == "no-store"
            rows = rows_of(response.text)
            assert len(rows["next"]) == 10
            assert len(rows["popular"]) >= 4
            shown = items(response.text)
            assert len(shown) == len(set(shown)) > 25
            assert re.search(r"full tier · \w+ route · \d+\.\d ms", response.text)
        assert "chosen most" in why_of((await client.get("/demo")).text, "next")

    scenario(home, act, PATIENT)


def test_static_files_may_be_kept_for_ever_and_unknown_ones_are_not_there(home: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        html = (await client.get("/demo")).text
        for url in re.findall(r'(?:href|src)="(/demo/static/[^"]+)"', html):
            response = await client.get(url)
            assert response.status_code == 200
            assert "immutable" in response.headers["cache-control"]
        assert error_of(await client.get("/demo/static/storefront.css"))["code"] == "not_found"

    scenario(home, act, PATIENT)


def test_after_a_choice_the_page_hangs_on_it_and_says_so(home: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        who = {"session_id": "s-1"}
        before = await page(client, **who)
        chosen, _ = rows_of(before["html"])["popular"][0]
        await click(client, chosen, **who)
        after = await page(client, **who, playing=chosen, mode="dwell")
        assert after["state_version"] == before["state_version"] + 1
        assert engine.live is not None
        catalog = engine.live.funnel.catalog
        title = catalog.titles[catalog.row_of(chosen)]
        assert f"closest to {title}" in why_of(after["html"], "like")
        assert f'<h1 id="hero-title">{title}</h1>' in after["html"]
        assert 'data-state="playing"' in after["html"]
        assert chosen not in items(after["html"])
        for _ in range(2):
            chosen = next(item for item, each in rows_of(after["html"])["like"] if each)
            await click(client, chosen, **who)
            after = await page(client, **who)
        assert "you chose" in after["html"] or "others chose" in after["html"]

    scenario(home, act, PATIENT)


def test_a_user_and_a_session_are_each_their_own(home: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        first = rows_of((await page(client, session_id="s-2"))["html"])["popular"][0][0]
        await click(client, first, session_id="s-2")
        assert "like" in rows_of((await page(client, session_id="s-2"))["html"])
        assert "like" not in rows_of((await page(client, session_id="s-3"))["html"])
        assert "like" not in rows_of((await client.get("/demo")).text)

    scenario(home, act, PATIENT)


def test_a_search_comes_first_and_finds_genres_and_titles(home: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        found = rows_of((await page(client, session_id="s-4", search=" horror "))["html"])
        assert next(iter(found)) == "search"
        assert {genre for _, genre in found["search"][:3]} == {"Horror"}
        assert engine.live is not None
        catalog = engine.live.funnel.catalog
        title = catalog.titles[7]
        by_title = await page(client, session_id="s-4", search=title.upper())
        assert rows_of(by_title["html"])["search"][0][0] == catalog.ids[7]
        assert "reads like" in why_of(by_title["html"], "search")
        nothing = await page(client, session_id="s-4", search="qqqq <zzz>")
        assert rows_of(nothing["html"])["search"] == []
        assert "Nothing reads like “qqqq &lt;zzz&gt;”" in nothing["html"]

    scenario(home, act, PATIENT)


def test_what_may_not_leave_is_in_no_row_and_not_played(home: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        blocked = rows_of((await page(client, session_id="s-5", search="horror"))["html"])["search"][0][0]
        popular = rows_of((await page(client, session_id="s-5"))["html"])["popular"][0][0]
        for item in (blocked, popular):
            assert (await client.delete(f"/v1/items/{item}")).status_code == 200
        after = await page(client, session_id="s-5", search="horror", playing=blocked)
        assert not {blocked, popular} & set(items(after["html"]))
        assert 'data-state="playing"' not in after["html"]

    scenario(home, act, PATIENT)


def test_an_item_blocked_by_the_settings_is_not_found_by_a_search(home: Path) -> None:
    blocked: list[str] = []

    async def find(client: httpx.AsyncClient, engine: Engine) -> None:
        blocked.append(rows_of((await page(client, search="horror"))["html"])["search"][0][0])

    async def look(client: httpx.AsyncClient, engine: Engine) -> None:
        assert blocked[0] not in items((await page(client, search="horror"))["html"])

    scenario(home, find, PATIENT)
    scenario(home, look, msgspec.structs.replace(PATIENT, reranking=RerankingSettings(blocked=tuple(blocked))))


def test_new_items_are_shown_and_found_by_their_words(home: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        new = [{"item_id": f"new-{n}", "title": f"Quokka {n}", "genres": ["Oddity"]} for n in range(30)]
        assert (await client.post("/v1/items", json=new)).json()["accepted"] == 30
        rows = rows_of((await page(client, session_id="s-6"))["html"])
        shown = [item for cards in rows.values() for item, _ in cards]
        assert {item for item in shown if item.startswith("new-")}
        assert len(shown) == len(set(shown))

    scenario(home, act, PATIENT)


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({"mode": "sleep"}, "$.mode"),
        ({"search": "x" * 201}, "$.search"),
        ({"user": "u1"}, "$"),
        ({"paused": 1}, "$.paused"),
    ],
)
def test_what_the_page_would_not_ask_is_refused(home: Path, asked: dict[str, Any], path: str) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        response = await client.post("/demo/page", json=asked)
        assert response.status_code == 400
        assert error_of(response)["path"] == path

    scenario(home, act, PATIENT)


def test_where_it_is_off_nothing_of_it_is_there(home: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        for response in (
            await client.get("/demo"),
            await client.get("/demo/static/x.css"),
            await client.post("/demo/page", json={}),
        ):
            assert response.status_code == 404
            assert "serve.demo" in error_of(response)["message"]

    scenario(home, act, msgspec.structs.replace(PATIENT, serve=ServeSettings(demo="off")))


@pytest.mark.parametrize(("demo", "status"), [("auto", 404), ("on", 200)])
def test_with_keys_it_is_served_only_where_it_is_on_and_shows_nothing_before_a_key(
    home: Path, demo: str, status: int
) -> None:
    settings = msgspec.structs.replace(PATIENT, serve=msgspec.convert({"demo": demo}, ServeSettings))
    keys = Keys(home / KEYS_FILE, SystemClock())
    keys.create(["recommend"])
    keys.reload_if_changed()

    async def run() -> None:
        metrics = Metrics()
        engine = Engine(home, settings, SystemClock(), metrics)
        app = create_app(engine, metrics, keys=keys)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://upnext") as client:
                response = await client.get("/demo?user=u00003")
                assert response.status_code == status
                assert "u0000" not in response.text
                assert CARD.findall(response.text) == []

    asyncio.run(run())


def test_before_there_is_a_release_the_page_says_so(tmp_path: Path) -> None:
    async def act(client: httpx.AsyncClient, engine: Engine) -> None:
        response = await client.get("/demo")
        assert response.status_code == 503
        assert "upnext train" in response.text
        assert (await client.post("/demo/page", json={})).status_code == 503

    scenario(tmp_path, act, PATIENT)
