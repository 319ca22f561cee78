"""The console in a real browser: live figures, dead letters, releases, a user and a request, by eye, key and reader."""

import time
import urllib.request
from typing import Any

import pytest

from tests.browser.conftest import PHONE, Server, Visit, VisitMaker
from tests.serve.test_console import second_release
from upnext.cli.output import as_json
from upnext.release.releases import Releases
from upnext.serve.console import MOST_STREAMS
from upnext.training.report import EvaluationReport

AHEAD_MS, LATER_MS = 5 * 60_000, 5_000
EVALUATED = EvaluationReport(
    dataset="tiny", split="time", seed=0, release="r1",
    systems={"popular": {"ndcg@10": 0.1, "n_cases": 1_200.0}, "funnel": {"ndcg@10": 0.2, "n_cases": 1_200.0}},
    intervals={"funnel": {"ndcg@10": (0.19, 0.21)}},
)  # fmt: skip
VIEWS = ("live", "ingest", "releases", "slow", "user", "request")


def opened(visit: VisitMaker, view: str, **options: Any) -> Visit:
    made = visit(**options)
    made.open(f"/console#{view}")
    return made


def rows(made: Visit, table: str) -> int:
    return int(made.page.locator(f"#{table} tbody tr:not(:has(.quiet))").count())


def test_figures_come_in_and_the_tail_is_the_largest(visit: VisitMaker, server: Server) -> None:
    made = opened(visit, "live")
    made.page.wait_for_selector("#connection:text-is('live')")
    for number in range(3):
        server.ask("/v1/recommend", {"user_id": f"u{number:05}"})
    made.page.wait_for_selector("#big-p999:has-text(' ms')")
    made.page.wait_for_selector("#stages tbody th:has-text('total')")
    made.page.wait_for_selector("#breakers tbody .badge.good")
    assert rows(made, "gauges") > 10
    sizes = "id => parseFloat(getComputedStyle(document.getElementById(id)).fontSize)"
    assert made.page.evaluate(sizes, "big-p999") > made.page.evaluate(sizes, "big-rate")
    made.page.click("button[data-window='300']")
    made.page.wait_for_selector("button[data-window='300'][aria-pressed='true']")
    made.screenshot("console-live")
    made.check_clean()


def test_a_dead_letter_is_replayed(visit: VisitMaker, server: Server) -> None:
    at_ms = int(time.time() * 1_000) + AHEAD_MS + LATER_MS
    good = {"action": "hover", "user_id": "beside-letter", "item_id": "i000001"}
    bad = {"action": "click", "user_id": "from-letter", "item_id": "i000001", "timestamp_ms": at_ms}
    posted = server.ask("/v1/events", [good, {**bad, "producer": "browser-test"}])
    assert [each["reason"] for each in posted["rejected"]] == ["timestamp_in_future"]
    made = opened(visit, "ingest")
    letter = made.page.locator("#letters tbody tr", has_text="browser-test")
    letter.wait_for()
    assert "timestamp_in_future" in letter.inner_text()
    assert made.page.locator("#replay-chosen").is_disabled()
    made.screenshot("console-ingest")
    made.page.wait_for_timeout(max(0, at_ms - AHEAD_MS + 500 - time.time() * 1_000))  # the clock catches up with it
    letter.locator("input").check()
    made.page.click("#replay-chosen")
    made.page.click("#confirm-yes")
    made.page.wait_for_selector("#replay-result:has-text('1 replayed (1 new')")
    assert letter.count() == 0
    assert server.ask("/v1/ops/users/from-letter")["recent"][0]["item_id"] == "i000001"
    made.check_clean()


def test_a_release_is_activated_and_rolled_back(visit: VisitMaker, server: Server) -> None:
    releases = Releases(server.home)
    first, second = releases.active_id(), second_release(server.home)
    releases.evaluations.keep(second, "time", as_json(EVALUATED))
    made = opened(visit, "releases")
    made.page.click(f"button[aria-label='Activate {second}']")
    made.page.click("#confirm button[value='no']")
    assert releases.active_id() == first  # whoever thinks better of it has changed nothing
    made.page.click(f"button[aria-label='Activate {second}']")
    made.page.click("#confirm-yes")
    made.page.wait_for_selector(f"#release-result:has-text('{second}')")
    assert releases.active_id() == second
    made.page.locator("#releases details").first.locator("summary").first.click()
    made.page.wait_for_selector("#releases details[open] [aria-label='Systems evaluated']")
    cells = made.page.locator("#releases [aria-label='Systems evaluated'] td").all_inner_texts()
    assert cells == ["0.1000", "1,200", "0.2000 ±0.010", "1,200"]
    assert made.page.locator("#releases td.best").all_inner_texts() == ["0.2000 ±0.010"]
    made.page.locator("#releases summary", has_text="Reports of the training").first.click()
    made.page.wait_for_selector("#releases details[open] :text('parity')")
    made.screenshot("console-releases")
    made.page.click("#roll-back")
    made.page.click("#confirm-yes")
    made.page.wait_for_selector(f"#release-result:has-text('{first}')")
    assert releases.active_id() == first
    made.check_clean()


def test_a_request_is_explained_stage_by_stage(visit: VisitMaker) -> None:
    made = opened(visit, "request")
    made.page.fill("#asked-user", "u00007")
    made.page.fill("#asked-k", "10")
    made.page.press("#asked-k", "Enter")
    made.page.wait_for_selector("#request .flow")
    assert made.page.locator("#request .flow b").all_inner_texts() == ["state", "retrieval", "ranking", "reranking"]
    places = made.page.locator('section[aria-label="Each item\'s way"] tbody th').all_inner_texts()
    assert places[:10] == [str(place) for place in range(1, 11)]
    assert set(places[10:]) == {"out"}
    text = made.page.inner_text("#request")
    assert "was seen before: dropped" in text
    assert "null" not in text
    made.screenshot("console-request")
    made.check_clean()


def test_a_user_is_explained_and_leads_on_to_a_request(visit: VisitMaker, server: Server) -> None:
    server.ask("/v1/events", {"action": "like", "user_id": "u00008", "item_id": "i000002"})
    made = opened(visit, "user")
    made.page.fill("#user-id", "u00008")
    made.page.press("#user-id", "Enter")
    made.page.wait_for_selector("section[aria-label='Nearest to the session vector'] li")
    assert "like" in made.page.inner_text("section[aria-label='Last events'] tbody tr:first-child")
    made.screenshot("console-user")
    made.page.click("text=Explain a request of this user")
    made.page.wait_for_selector("#request .flow")
    assert made.page.input_value("#asked-user") == "u00008"
    made.check_clean()


def test_slow_requests_are_listed_with_their_stages(visit: VisitMaker, server: Server) -> None:
    server.ask("/v1/recommend", {"user_id": "u00009"})
    made = opened(visit, "slow")
    made.page.wait_for_selector("#slow tbody svg")
    assert "ms" in (made.page.get_attribute("#slow tbody svg", "aria-label") or "")
    made.check_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_part_has_a_serious_finding_of_axe(visit: VisitMaker, scheme: str) -> None:
    made = opened(visit, "live", color_scheme=scheme)
    made.page.wait_for_selector("#gauges tbody th")
    found = []
    for view in VIEWS:
        about = "=u00007" if view in ("user", "request") else ""
        made.page.evaluate(f"location.hash = '{view}{about}'")
        made.page.wait_for_selector(f"#view-{view}:not([hidden])")
        if about:
            made.page.wait_for_selector(f"#{view} tbody tr")
        found += [f"{view}: {each}" for each in made.serious_findings()]
    assert found == []
    made.check_clean()


def test_it_is_usable_by_key_alone_and_on_a_phone(visit: VisitMaker) -> None:
    made = opened(visit, "live", size=PHONE)
    made.page.keyboard.press("Tab")
    assert made.page.evaluate("document.activeElement.className") == "skip"
    made.page.focus("nav a[data-view='slow']")
    made.page.keyboard.press("Enter")
    made.page.wait_for_selector("#view-slow:not([hidden])")
    assert made.page.evaluate("document.activeElement.id") == "main"
    for view in VIEWS:
        made.page.evaluate(f"location.hash = '{view}'")
        made.page.wait_for_selector(f"#view-{view}:not([hidden])")
        assert made.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    made.screenshot("console-phone")
    made.check_clean()


def test_a_server_with_keys_is_asked_with_the_key_that_was_typed_and_kept_in_the_tab_alone(visit: VisitMaker) -> None:
    made, given = visit(), []

    def door(route: Any) -> None:
        key = route.request.headers.get("x-api-key")
        given.append(key)
        if key == "upk_operator":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"code": "unauthorized", "message": "this needs a key"}})

    made.page.route("**/v1/**", door)
    made.open("/console#slow")
    made.page.wait_for_selector("#key[open]")
    made.page.fill("#key-text", "upk_operator")
    made.page.keyboard.press("Enter")
    made.page.wait_for_selector("#connection:text-is('live')")
    assert set(given) == {None, "upk_operator"}
    assert made.page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    made.complaints = [each for each in made.complaints if "401" not in each]
    made.check_clean()


def test_streams_of_clients_that_have_left_make_room_for_others(server: Server) -> None:
    for _ in range(3 * MOST_STREAMS):
        with urllib.request.urlopen(f"{server.url}/v1/ops/stream?window_s=10", timeout=60) as response:
            assert response.readline() == b"event: figures\n"
