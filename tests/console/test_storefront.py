"""The storefront's HTML says what its records say, in plain words, and nothing that was written is markup."""

import re
from html.parser import HTMLParser

import pytest

from upnext.console.storefront import Card, Hero, Reason, Row, StorefrontPage, Visitor, Why, body_html, page_html

WHY = Why("chosen", "The Talking Robot", "user_vector", "full", "live", 3.84)
EVIL = "<script>alert('x')</script>\" onclick=\"x"


class Reader(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def page_of(*cards: Card, state: str = "offered", **row: str) -> StorefrontPage:
    hero = Hero(cards[0], WHY, state)  # type: ignore[arg-type]
    rows = (Row(row.get("key", "next"), row.get("title", "Up next"), cards[1:], WHY, "r-1", row.get("empty", "")),)
    return StorefrontPage(hero, rows, "r-1", "release-7")


CARDS = [Card(f"i{number}", f"Title {number}", "Drama") for number in range(4)]


def test_the_page_has_hero_rows_and_why_with_tier_route_and_milliseconds() -> None:
    html = page_html(page_of(*CARDS), Visitor("u1", ("u2", "u3")))
    assert '<h1 id="hero-title">Title 0</h1>' in html
    for number in (1, 2, 3):
        assert f'<span class="name">Title {number}</span>' in html
    assert "because you chose The Talking Robot" in html
    assert "user vector · full tier · live route · 3.8 ms" in html
    assert "release-7" in html
    assert [each["value"] for each in Reader(html).of("option")] == ["u2", "u3"]


def test_landmarks_names_and_one_stop_of_the_tab_key_in_each_row() -> None:
    reader = Reader(page_html(page_of(*CARDS), Visitor()))
    assert {"header", "main", "footer"} <= {tag for tag, _ in reader.tags}
    assert [each["aria-live"] for each in reader.of("p") if "aria-live" in each] == ["polite"]
    assert [each["role"] for each in reader.of("form") if "role" in each] == ["search"]
    tiles = [each for each in reader.of("button") if each.get("class") == "tile"]
    assert [each["tabindex"] for each in tiles] == ["0", "-1", "-1"]
    labels = [each["aria-label"] for each in reader.of("button") if "aria-label" in each]
    assert labels[:2] == ["Like Title 1", "Not for me: Title 1"]
    ids = [each["id"] for _, each in reader.tags if "id" in each]
    assert len(ids) == len(set(ids))


def test_whatever_an_item_user_or_search_is_called_is_text() -> None:
    evil = Card(EVIL, EVIL, EVIL)
    page = page_of(evil, evil, key=EVIL, title=EVIL)
    reader = Reader(page_html(page, Visitor(EVIL, (EVIL,))))
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert [each.get("src", "").partition("-")[0] for each in reader.of("script")] == ["/demo/static/storefront"]
    assert {each["data-item"] for each in reader.of("li")} == {EVIL}
    assert Reader(body_html(page)).of("script") == []


def test_nothing_in_the_page_is_against_its_own_policy() -> None:
    html = page_html(page_of(*CARDS), Visitor())
    reader = Reader(html)
    assert not any("style" in attributes for _, attributes in reader.tags)
    assert reader.of("style") == []
    assert re.findall(r'(?:src|href)="(?!/demo|#)([^"]*)', html) == []


@pytest.mark.parametrize(
    ("reason", "subject", "sentence"),
    [
        ("chosen", "The Talking Robot", "because you chose The Talking Robot"),
        ("chosen", "", "close to what you chose lately"),
        ("others", "Heat", "others chose these after Heat"),
        ("beside", "Heat", "often chosen together with Heat"),
        ("reads", "Heat", "reads like Heat"),
        ("like", "Heat", "closest to Heat, which you chose last"),
        ("searched", "a {robot}", "reads like “a {robot}”"),
        ("popular", "", "chosen most these days"),
        ("trending", "", "chosen most this hour"),
        ("fresh", "", "added since the models were trained"),
        ("lately", "", "fits what you did a moment ago"),
        ("sessions", "", "from visits like yours"),
        ("playing", "", "what comes next follows from this"),
    ],
)
def test_reasons_in_plain_words(reason: Reason, subject: str, sentence: str) -> None:
    assert Why(reason, subject, "content", "full", "live", 1.0).sentence == sentence


def test_what_has_no_route_or_tier_does_not_name_one() -> None:
    assert Why("like", "Heat", "similar", "", "", 0.25).how == "similar · 0.2 ms"


@pytest.mark.parametrize(
    ("state", "words", "button"),
    [("offered", "First for you", "play"), ("playing", "Now playing", "pause"), ("paused", "Paused", "resume")],
)
def test_the_hero_says_whether_it_plays_and_offers_what_comes_next(state: str, words: str, button: str) -> None:
    html = body_html(page_of(*CARDS, state=state))
    assert words in html
    first = next(each for each in Reader(html).of("button") if each.get("class") == "primary")
    assert first["data-act"] == button


def test_an_item_without_a_title_is_called_by_its_id_and_an_empty_row_says_so() -> None:
    assert "i-77" in body_html(page_of(Card("i-77", "", "")))
    assert "Nothing reads like that" in body_html(page_of(CARDS[0], empty="Nothing reads like that"))


def test_without_a_release_or_a_key_the_page_says_what_to_do() -> None:
    assert "upnext train" in page_html(None, Visitor())
    html = page_html(None, Visitor(needs_key=True))
    assert 'data-key="wanted"' in html
    assert "One key" in html
