"""A server whose item rows come from the store answers as one that maps them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import PATIENT, running
from upnext.clock import Deadline, SystemClock
from upnext.errors import UpnextError
from upnext.features.item_rows_publish import publish
from upnext.funnel.live import item_tables
from upnext.release.releases import Releases
from upnext.settings import AheadSettings, ItemSettings, Settings
from upnext.store.opening import open_store

AHEAD = AheadSettings(reuse=False)
MAPPED = Settings(budget=PATIENT.budget, ahead=AHEAD)
TIERED = Settings(budget=PATIENT.budget, ahead=AHEAD, items=ItemSettings(tier="store", pinned_share=0.0))


def slates(home: Path, settings: Settings) -> list[dict[str, Any]]:
    """Of ten users, each after a click."""
    found = []

    async def inside() -> None:
        async with running(home, settings) as (client, engine):
            live = engine.live
            assert live is not None
            for user in range(10):
                asked = {"user_id": f"{settings.items.tier}{user}", "k": 10}
                clicked = live.funnel.catalog.ids[user * 3]
                await client.post(
                    "/v1/events", json={"action": "click", "item_id": clicked, "user_id": asked["user_id"]}
                )
                response = await client.post("/v1/recommend", json=asked)
                assert response.status_code == 200
                found.append(response.json())

    asyncio.run(inside())
    return found


def publish_rows(home: Path) -> None:
    release, store = Releases(home).open_active(), open_store(home, MAPPED.store, SystemClock())
    n_released = len(release.array("catalog.sorted_keys"))
    publish(release.id, item_tables(release), n_released, store, Deadline.never(SystemClock()), lambda *_: None)
    store.close()


def test_a_server_over_rows_from_the_store_answers_in_full(home: Path) -> None:
    publish_rows(home)
    mapped, tiered = slates(home, MAPPED), slates(home, TIERED)
    assert {each["tier"] for each in tiered} == {"full"}
    assert [each["degraded"] for each in tiered] == [[]] * 10
    assert [len(each["items"]) for each in tiered] == [len(each["items"]) for each in mapped]
    assert {each["exit"] for each in tiered} == {each["exit"] for each in mapped}


def test_a_release_whose_rows_were_never_published_is_not_opened(home: Path) -> None:
    with pytest.raises(UpnextError, match="upnext release publish"):
        slates(home, TIERED)
