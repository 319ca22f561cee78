"""The storefront as records, and its HTML: hero, rows, and why each is there; knows no HTTP and no engine."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from upnext.console.artwork import artwork
from upnext.console.pages import StaticFiles, rendered, templates

STATIC = StaticFiles("/demo/static/", ("storefront.css", "storefront.js", "storefront.svg"))
Reason: TypeAlias = Literal[
    "chosen",
    "others",
    "beside",
    "reads",
    "sessions",
    "lately",
    "popular",
    "trending",
    "around",
    "fresh",
    "searched",
    "like",
    "playing",
]
# What a row is there for, in plain words; where they name something, and it is not known, the second is said.
_SENTENCES: dict[Reason, tuple[str, str]] = {
    "chosen": ("because you chose {}", "close to what you chose lately"),
    "others": ("others chose these after {}", "others chose these next"),
    "beside": ("often chosen together with {}", "often chosen together with what you chose"),
    "reads": ("reads like {}", "reads like what you chose"),
    "sessions": ("from visits like yours that held {} too", "from visits like yours"),
    "lately": ("fits what you did a moment ago", "fits what you did a moment ago"),
    "popular": ("chosen most these days", "chosen most these days"),
    "trending": ("chosen most this hour", "chosen most this hour"),
    "around": ("chosen most by people on your kind of visit", "chosen most by people on your kind of visit"),
    "fresh": ("added since the models were trained", "added since the models were trained"),
    "searched": ("reads like “{}”", "reads like your search"),
    "playing": ("what comes next follows from this", "what comes next follows from this"),
    "like": ("closest to {}, which you chose last", "closest to what you chose last"),
}


@dataclass(frozen=True, slots=True)
class Card:
    """One item; `genre` is "" where it has none."""

    item_id: str
    title: str
    genre: str

    @property
    def name(self) -> str:
        """What to call it."""
        return self.title or self.item_id


@dataclass(frozen=True, slots=True)
class Why:
    """Why a row is there, and how it came about: `subject` is what it is because of, "" for nothing in particular."""

    reason: Reason
    subject: str
    source: str
    tier: str
    route: str
    ms: float  # that the server took for it

    @property
    def sentence(self) -> str:
        """The reason in plain words."""
        named, unnamed = _SENTENCES[self.reason]
        return named.format(self.subject) if self.subject else unnamed

    @property
    def how(self) -> str:
        """Source, tier, route and time, for those who want to know."""
        parts = (self.source.replace("_", " "), self.tier and f"{self.tier} tier", self.route and f"{self.route} route")
        return " · ".join([*(part for part in parts if part), f"{self.ms:.1f} ms"])


@dataclass(frozen=True, slots=True)
class Row:
    """Cards side by side. `key` stays the same when the row comes again with other cards."""

    key: str
    title: str
    cards: tuple[Card, ...]
    why: Why
    request_id: str = ""  # of the slate that the cards are from; "" for none
    empty: str = ""  # what to say where there are no cards


@dataclass(frozen=True, slots=True)
class Hero:
    """The item on top: offered, or being watched."""

    card: Card
    why: Why
    state: Literal["offered", "playing", "paused"] = "offered"


@dataclass(frozen=True, slots=True)
class StorefrontPage:
    """Everything that one look at the storefront shows."""

    hero: Hero | None
    rows: tuple[Row, ...]
    request_id: str  # of the slate behind hero and rows
    release: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks; `others` are some who could be looked as."""

    user_id: str = ""  # "": somebody whose name nobody knows
    others: tuple[str, ...] = ()
    needs_key: bool = False  # nothing can be shown before a key is given


_environment = templates()
_environment.globals |= {"artwork": artwork, "static": STATIC.url}


def body_html(page: StorefrontPage) -> str:
    """What changes when the page re-shapes: hero and rows."""
    return rendered(_environment, "storefront_body.html", page=page)


def page_html(page: StorefrontPage | None, visitor: Visitor) -> str:
    """The whole document; without a `page` (no release yet, or no key yet) it says so in its place."""
    return rendered(_environment, "storefront.html", page=page, visitor=visitor)
