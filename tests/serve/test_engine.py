"""What a worker promises beyond single requests: deadlines kept, releases swapped, events never lost."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import TrainedHome, train_tiny
from tests.serve.conftest import PATIENT, running
from upnext.clock import Deadline, ManualClock, SystemClock
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.release.releases import Releases
from upnext.serve.compute import ComputeThread
from upnext.settings import BudgetSettings, ServeSettings, Settings

QUICK_SWAP = Settings(budget=PATIENT.budget, serve=ServeSettings(release_poll_ms=5))


async def until(condition: Any) -> None:
    """Lets the event loop turn until the condition holds."""
    while not condition():
        await asyncio.sleep(0.005)


def test_a_hung_ranker_cannot_keep_a_request_past_its_deadline(trained_home: TrainedHome, tmp_path: Path) -> None:
    home = trained_home.copy(tmp_path / "home")
    release_ranker = threading.Event()

    async def inside() -> None:
        async with running(home, Settings(budget=BudgetSettings(full_ms=10_000.0))) as (client, engine):
            live = engine.live
            assert live is not None
            ranker = live.funnel.ranker

            class Hung:
                exits, default_exit = ranker.exits, ranker.default_exit

                def score(self, *arguments: Any) -> Any:
                    release_ranker.wait(30)
                    return ranker.score(*arguments)

            live.funnel.ranker = Hung()
            response = await client.post("/v1/recommend", json={"user_id": "somebody", "budget_ms": 150})
            answer = response.json()
            assert response.status_code == 200
            assert answer["tier"] == "fast"
            assert {"stage": "funnel", "why": "deadline"} in answer["degraded"]
            assert len(answer["items"]) == 20
            # The next one comes while the first still hangs, and gets as far on a fresh thread.
            behind = (await client.post("/v1/recommend", json={"user_id": "other", "budget_ms": 190})).json()
            assert (behind["tier"], len(behind["items"])) == ("fast", 20)
            release_ranker.set()

    asyncio.run(inside())


def test_a_job_whose_deadline_passed_in_the_queue_is_not_started() -> None:
    clock, compute, started = ManualClock(), ComputeThread(), []
    first_runs, go_on = threading.Event(), threading.Event()

    def first() -> None:
        first_runs.set()
        go_on.wait(30)

    async def inside() -> None:
        never = Deadline.never(SystemClock())
        holding = asyncio.create_task(compute.run(first, never))
        await until(first_runs.is_set)
        soon = Deadline.after(clock, 60_000)
        late = asyncio.create_task(compute.run(lambda: started.append("late"), soon))
        await asyncio.sleep(0)
        clock.advance(60_001)
        go_on.set()
        last = await compute.run(lambda: started.append("last"), never)
        late.cancel()
        assert (await holding, last) == (True, True)

    asyncio.run(inside())
    compute.close()
    assert started == ["last"]


def test_an_exception_of_a_job_reaches_the_one_who_waits_and_the_thread_goes_on() -> None:
    compute, never = ComputeThread(), Deadline.never(SystemClock())

    async def inside() -> None:
        with pytest.raises(ZeroDivisionError):
            await compute.run(lambda: 1 // 0 and None, never)
        assert await compute.run(lambda: None, never)

    asyncio.run(inside())
    compute.close()


def test_an_acknowledged_event_is_in_the_log_after_the_server_is_gone(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    home = trained_home.copy(tmp_path / "home")

    async def inside() -> int:
        async with running(home) as (client, engine):
            last = engine.event_log.last()
            posted = [
                client.post("/v1/events", json={"event_id": f"e{n}", "action": "click", "user_id": "a", "item_id": "x"})
                for n in range(40)
            ]
            assert all(response.status_code == 200 for response in await asyncio.gather(*posted))
            return last

    last = asyncio.run(inside())
    log = LmdbEventLog(home / "log")
    assert sorted(event.event_id for _, event in log.read(last, 100)) == sorted(f"e{n}" for n in range(40))
    log.close()


def test_a_click_moves_the_crowd_of_the_worker_that_follows_the_log(trained_home: TrainedHome, tmp_path: Path) -> None:
    home = trained_home.copy(tmp_path / "home")

    async def inside() -> None:
        async with running(home) as (client, engine):
            crowd, catalog = engine.live.funnel.crowd, engine.live.funnel.catalog
            row = np.array([7], np.int32)
            now_ms = crowd.trends.latest_ms
            before = float(crowd.trends.counts(row)[0, 0])
            event = {"action": "click", "session_id": "s", "item_id": catalog.ids[7], "timestamp_ms": now_ms}
            await client.post("/v1/events", json=[event, {**event, "action": "impression"}])
            await until(lambda: float(crowd.trends.counts(row)[0, 0]) > before)
            assert float(crowd.trends.counts(row)[0, 0]) == pytest.approx(before + 1, abs=0.01)

    asyncio.run(inside())


def test_a_release_is_swapped_under_requests_without_dropping_one_and_rolled_back(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    home = trained_home.copy(tmp_path / "home")
    second = train_tiny(home, seed=1)
    releases = Releases(home)
    releases.activate(trained_home.release_id)
    seen: list[str] = []

    async def ask(client: httpx.AsyncClient) -> str:
        response = await client.post("/v1/recommend", json={"user_id": "u00001"})
        assert response.status_code == 200
        assert response.json()["tier"] == "full"
        seen.append(response.json()["release"])
        return seen[-1]

    async def ask_until(client: httpx.AsyncClient, release_id: str) -> None:
        while await ask(client) != release_id:
            await asyncio.sleep(0.002)

    async def inside() -> None:
        async with running(home, QUICK_SWAP) as (client, _):
            assert await ask(client) == trained_home.release_id
            releases.activate(second)
            await ask_until(client, second)
            releases.rollback()
            await ask_until(client, trained_home.release_id)

    asyncio.run(inside())
    assert set(seen) == {trained_home.release_id, second}


def test_an_altered_release_is_refused_by_name_and_the_old_one_goes_on_serving(
    trained_home: TrainedHome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = trained_home.copy(tmp_path / "home")
    second = train_tiny(home, seed=1)
    Releases(home).activate(trained_home.release_id)

    async def inside() -> None:
        async with running(home, QUICK_SWAP) as (client, _):
            # Activated first, altered behind the back of the one who verified it.
            Releases(home).activate(second)
            part = home / "releases" / second / "vectors.session.npy"
            content = bytearray(part.read_bytes())
            content[-1] ^= 1
            part.write_bytes(bytes(content))
            await until(lambda: "goes on serving" in caplog.text)
            assert "vectors.session.npy" in caplog.text
            answer = (await client.post("/v1/recommend", json={"user_id": "u00001"})).json()
            assert answer["release"] == trained_home.release_id

    asyncio.run(inside())


def test_without_a_release_events_are_taken_and_slates_follow_once_one_is_activated(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    click = {"action": "click", "user_id": "early", "item_id": "x"}

    async def inside() -> None:
        async with running(home, QUICK_SWAP) as (client, engine):
            assert (await client.post("/v1/events", json=click)).json()["applied"]
            early = await client.post("/v1/recommend", json={})
            assert (early.status_code, early.json()["error"]["code"]) == (503, "not_ready")
            assert (await client.get("/readyz")).status_code == 503
            await asyncio.get_running_loop().run_in_executor(None, train_tiny, home)
            await until(lambda: engine.live is not None)
            slate = (await client.post("/v1/recommend", json={"user_id": "early"})).json()
            assert (len(slate["items"]), slate["state_version"]) == (20, 1)

    asyncio.run(inside())


def test_a_worker_that_starts_goes_on_from_the_counts_another_has_left(home: Path, monkeypatch: Any) -> None:
    click = {"action": "click", "user_id": "ann", "item_id": "i000001"}

    async def first() -> tuple[int, list[int]]:
        async with running(home) as (client, engine):
            await client.post("/v1/events", json=[click] * 5)
            follower = engine.in_force.follower
            await until(lambda: follower.sequence == engine.event_log.last())
            return follower.sequence, engine.live.funnel.crowd.trends.popular().tolist()

    async def second() -> tuple[int, list[int]]:
        async with running(home) as (_, engine):
            return engine.in_force.follower.sequence, engine.live.funnel.crowd.trends.popular().tolist()

    before = asyncio.run(first())
    observed: list[int] = []
    monkeypatch.setattr("upnext.state.crowd.Crowd.observe_batch", lambda self, events: observed.extend(events))
    sequence, popular = asyncio.run(second())
    assert (sequence, popular) == before
    assert not observed, "the events before the snapshot are not counted again"


def test_a_ranker_that_hangs_is_left_out_by_its_breaker_and_tried_again(home: Path) -> None:
    settings = Settings(budget=BudgetSettings(full_ms=10_000.0, hard_stop_ms=50.0))
    hanging, release_ranker = threading.Event(), threading.Event()
    hanging.set()

    async def inside() -> None:
        async with running(home, settings) as (client, engine):
            live = engine.live
            assert live is not None
            ranker = live.funnel.ranker

            class Hung:
                exits, default_exit = ranker.exits, ranker.default_exit

                def score(self, *arguments: Any) -> Any:
                    if hanging.is_set():
                        release_ranker.wait(30)
                    return ranker.score(*arguments)

            live.funnel.ranker = Hung()

            async def ask() -> dict[str, Any]:
                response = await client.post("/v1/recommend", json={"user_id": "somebody", "budget_ms": 100})
                assert response.status_code == 200
                assert len(response.json()["items"]) == 20
                return dict(response.json())

            while engine.breakers["ranker"].state != "open":
                assert (await ask())["tier"] != "full"
            answer = await ask()
            assert {"stage": "ranking", "why": "breaker_open"} in answer["degraded"]
            assert (answer["tier"], answer["exit"]) == ("fast", "")
            hanging.clear()
            release_ranker.set()
            while (answer := await ask())["tier"] != "full":
                pass
            assert answer["exit"] in ranker.exits
            await until(lambda: engine.compute.lost == 0)

    asyncio.run(inside())


def test_the_mode_of_a_request_says_how_deep_the_ranker_looks(home: Path) -> None:
    async def inside() -> None:
        async with running(home) as (client, engine):
            exits = engine.live.funnel.ranker.exits
            answered = {}
            for mode in ("scroll", "dwell"):
                body = {"user_id": "somebody", "context": {"mode": mode}}
                answered[mode] = (await client.post("/v1/recommend", json=body)).json()["exit"]
            assert answered == {"scroll": exits[0], "dwell": exits[-1]}

    asyncio.run(inside())


def test_a_ranker_that_fails_leaves_the_callers_items_in_the_callers_order(home: Path) -> None:
    async def inside() -> None:
        async with running(home) as (client, engine):
            items = [engine.live.funnel.catalog.ids[row] for row in (5, 3, 9)]

            class Broken:
                exits, default_exit = engine.live.funnel.ranker.exits, engine.live.funnel.ranker.default_exit

                def score(self, *arguments: Any) -> Any:
                    raise RuntimeError("on purpose")

            engine.live.funnel.ranker = Broken()
            response = await client.post("/v1/rank", json={"items": items})
            assert response.status_code == 200
            assert [item["item_id"] for item in response.json()["items"]] == items
            assert response.json()["tier"] == "popular"

    asyncio.run(inside())
