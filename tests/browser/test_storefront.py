"""The storefront in a real browser: what a visitor does changes what they see, and tells them so."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import PHONE, WIDE, Visit, VisitMaker

QUEUE = '[data-row="next"] .card'
MOST_BYTES = 300_000
PAINTED = """new Promise(done => new PerformanceObserver(list => {
    const [paint] = list.getEntriesByName("first-contentful-paint");
    if (paint) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""


def opened(visit: VisitMaker, user: str, **options: Any) -> Visit:
    made = visit(**options)
    made.open(f"/demo?user={user}" if user else "/demo")
    return made


def reshaped(made: Visit, do: Callable[[], Any]) -> None:
    """Does something, and waits until the page has taken its new shape and it is on the screen."""
    before = made.page.get_attribute("html", "data-reshaped")
    do()
    changed = f':not([data-reshaped="{before}"])' if before else ""
    made.page.wait_for_selector(f"html[data-reshaped]{changed}")


def genres(made: Visit, cards: str = QUEUE) -> "Counter[str]":
    return Counter(made.page.eval_on_selector_all(cards, "cards => cards.map(card => card.dataset.genre)"))


def dark_share(made: Visit) -> float:
    """Of all cards of the page, those of horror and thrillers."""
    found = genres(made, ".card")
    return (found["Horror"] + found["Thriller"]) / found.total()


def items(made: Visit, cards: str = QUEUE) -> list[str]:
    return list(made.page.eval_on_selector_all(cards, "cards => cards.map(card => card.dataset.item)"))


def focused(made: Visit) -> dict[str, Any]:
    script = """(() => { const e = document.activeElement, c = e.closest('[data-item]'), r = e.closest('[data-row]');
        return {act: e.dataset.act, id: e.id, item: c && c.dataset.item, row: r && r.dataset.row}; })()"""
    return dict(made.page.evaluate(script))


def test_choosing_horror_shows_more_horror_and_says_so(visit: VisitMaker) -> None:
    made = opened(visit, "", size=WIDE)
    before, others = dark_share(made), items(made)
    reshaped(made, lambda: _search(made, "horror"))
    cards = '[data-row="search"] .card[data-genre="Horror"]'
    assert made.page.locator(cards).count() >= 3
    for _ in range(3):
        reshaped(made, lambda: made.page.locator(f"{cards} .tile").first.click())
    assert "Playing" in made.page.inner_text("#note")
    reshaped(made, lambda: made.page.keyboard.press("Escape"))
    assert items(made) != others
    assert dark_share(made) > before
    assert made.page.locator('.hero[data-state="playing"]').count() == 1
    assert "re-shaped in" in made.page.inner_text("#speed")
    why = made.page.inner_text('[data-row="next"] .why')
    assert "tier" in why
    assert "route" in why
    assert "ms" in why
    made.screenshot("storefront-after-horror")
    made.check_clean()


def _search(made: Visit, words: str) -> None:
    made.page.keyboard.press("/")
    made.page.keyboard.type(words)
    made.page.keyboard.press("Enter")


def test_what_was_chosen_is_sent_as_an_answer_to_its_slate_and_named_as_the_reason(visit: VisitMaker) -> None:
    made = opened(visit, "browser-chooser")
    card = made.page.locator(QUEUE).nth(2)
    item, request = card.get_attribute("data-item"), made.page.get_attribute('[data-row="next"]', "data-request")
    name = card.locator(".name").inner_text()
    reshaped(made, lambda: card.locator(".tile").click())
    (event,) = [event for event in made.sent if event["action"] == "click"]
    assert (event["item_id"], event["request_id"], event["user_id"]) == (item, request, "browser-chooser")
    assert event["context"] == {"surface": "storefront", "row": "next", "position": 2}
    assert item not in items(made, ".card")
    assert name in made.page.inner_text('[data-row="like"] .why')
    known = made.server.ask("/v1/users/browser-chooser")
    assert [each["item_id"] for each in known["events"] if each["action"] == "click"] == [item]
    made.check_clean()


def test_a_visitor_without_a_name_is_still_the_same_one_after_loading_the_page_anew(visit: VisitMaker) -> None:
    made = opened(visit, "")
    reshaped(made, lambda: made.page.locator(f"{QUEUE} .tile").first.click())
    chosen = made.sent[0]
    assert chosen["session_id"].startswith("s-")
    assert "user_id" not in chosen
    made.page.reload()
    made.page.wait_for_selector("html[data-reshaped]")
    assert made.page.locator('[data-row="like"]').count() == 1
    assert chosen["item_id"] not in items(made, ".card")
    made.check_clean()


def test_pausing_going_on_liking_and_not_liking_are_told(visit: VisitMaker) -> None:
    made = opened(visit, "browser-player")
    for action, state in (("play", "playing"), ("pause", "paused"), ("resume", "playing"), ("like", "playing")):
        reshaped(made, made.page.locator(f'.hero [data-act="{action}"]').click)
        assert made.page.get_attribute(".hero", "data-state") == state
        assert made.sent[-1]["action"] == action
    playing = made.page.get_attribute(".hero", "data-item")
    reshaped(made, made.page.locator('.hero [data-act="dislike"]').click)
    assert made.sent[-1] | {"action": "dislike", "item_id": playing} == made.sent[-1]
    assert made.page.get_attribute(".hero", "data-item") != playing
    made.check_clean()


def test_resting_on_a_card_is_a_hint_and_the_row_under_the_pointer_stays(visit: VisitMaker) -> None:
    made = opened(visit, "browser-rester")
    before = items(made)
    reshaped(made, made.page.locator(QUEUE).nth(1).hover)
    (event,) = made.sent
    assert (event["action"], event["item_id"]) == ("hover", before[1])
    assert items(made) == before
    made.page.mouse.move(5, 5)
    made.check_clean()


def test_a_search_is_shown_first_and_left_with_escape(visit: VisitMaker) -> None:
    made = opened(visit, "browser-seeker")
    title = made.page.locator(f"{QUEUE} .name").nth(4).inner_text()
    reshaped(made, lambda: _search(made, title))
    assert made.sent[-1]["query"] == title
    assert made.page.locator(".row").first.get_attribute("data-row") == "search"
    assert made.page.locator('[data-row="search"] .name').first.inner_text() == title
    reshaped(made, lambda: made.page.keyboard.press("Escape"))
    assert made.page.locator('[data-row="search"]').count() == 0
    reshaped(made, lambda: _search(made, "qqqq <b>zzz"))
    assert "Nothing reads like “qqqq <b>zzz”" in made.page.inner_text('[data-row="search"]')
    made.check_clean()


def test_everything_can_be_done_from_the_keyboard_and_focus_stays(visit: VisitMaker) -> None:
    made = opened(visit, "browser-typist")
    keyboard = made.page.keyboard
    made.page.locator(f"{QUEUE} .tile").first.focus()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    assert focused(made)["item"] == items(made)[2]
    assert made.page.locator(f'{QUEUE} .tile[tabindex="0"]').count() == 1
    keyboard.press("ArrowDown")
    assert focused(made)["row"] != "next"
    keyboard.press("ArrowUp")
    assert focused(made)["item"] == items(made)[2]
    chosen = items(made)[2]
    reshaped(made, lambda: keyboard.press("Enter"))
    assert made.page.get_attribute(".hero", "data-item") == chosen
    now = focused(made)
    assert (now["row"], now["act"]) == ("next", "click")
    reshaped(made, lambda: keyboard.press("l"))
    assert (made.sent[-1]["action"], made.sent[-1]["item_id"]) == ("like", now["item"])
    keyboard.press("/")
    assert focused(made)["id"] == "words"
    keyboard.press("Escape")
    assert focused(made)["act"] == "click"
    made.check_clean()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "dark"), (WIDE, "light"), (PHONE, "light")])
def test_no_serious_finding_of_accessibility(visit: VisitMaker, size: tuple[int, int], scheme: str) -> None:
    made = opened(visit, "u00003", size=size, color_scheme=scheme)
    assert made.serious_findings() == []
    made.screenshot(f"storefront-{size[0]}-{scheme}")
    reshaped(made, lambda: made.page.locator(f"{QUEUE} .tile").first.click())
    reshaped(made, lambda: _search(made, "drama"))
    assert made.serious_findings() == []
    assert made.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    made.screenshot(f"storefront-{size[0]}-{scheme}-search")
    made.check_clean()


def test_the_first_look_needs_no_script_and_few_bytes(visit: VisitMaker) -> None:
    plain = visit(java_script_enabled=False)
    plain.page.goto(f"{plain.server.url}/demo")
    assert plain.page.locator(".card").count() > 20
    made = opened(visit, "u00004")
    painted_ms = made.page.evaluate(PAINTED)
    print(f"first contentful paint after {painted_ms:.0f} ms, {made.bytes:,} bytes")
    assert 1_000 < made.bytes <= MOST_BYTES
    assert len(made.requests) <= 4
    made.check_clean()
