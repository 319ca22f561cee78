"""A slate and the facts beside it, divided into hero, queue and rows, each with its reason; knows no HTTP."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from upnext.clock import Clock
from upnext.console.storefront import Card, Hero, Reason, Row, StorefrontPage, Why
from upnext.domain.identity import keys_of
from upnext.features.spec import SOURCE_BIT
from upnext.funnel.answer import Ranked
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.serve.messages import RecommendResponse, SlateItem
from upnext.serve.storefront_facts import Facts

_QUEUE, _WIDTH, _FEWEST = 10, 10, 4
_GROUPS = 4  # rows that the slate below the queue is divided into, at most
_BY_CHANCE: dict[str, Reason] = {
    "popular": "popular",
    "trending": "trending",
    "context": "around",
    "fresh": "fresh",
    "session_knn": "sessions",
}
_QUIET_TIER = "fast"


@dataclass(frozen=True, slots=True)
class Offer:
    """One item of a slate, and what it is there for; `anchor` is the row of the user's item, -1 for none."""

    item: SlateItem
    card: Card
    reason: Reason
    anchor: int
    followed: int  # the user's item after which others chose it, where that is one of its sources; -1 for none


@dataclass(slots=True)
class Composer:
    """Makes one page; every item is shown once."""

    live: Live
    slate: RecommendResponse
    facts: Facts
    clock: Clock
    search: str = ""
    playing: str = ""  # item id; "" for none
    paused: bool = False
    _shown: set[str] = field(default_factory=set)

    def page(self) -> StorefrontPage:
        """The page. The search comes first, then the queue, then what hangs on the last choice, then all else."""
        rows = [self._search_row()] if self.search else []
        hero, offers = self._hero(self._not_shown(self._offers()))
        if hero is not None:
            self._shown.add(hero.card.item_id)
        queue = self._not_shown(offers)[:_QUEUE]
        rows += [self._of_slate("next", "Up next", queue)] if queue else []
        rows += [row for row in (self._like_row(),) if row]
        rows += self._groups(self._not_shown(offers))
        rows += [row for row in (self._popular_row(), self._fresh_row()) if row]
        return StorefrontPage(hero, tuple(rows), self.slate.request_id, self.live.release_id)

    def _not_shown(self, offers: Sequence[Offer]) -> list[Offer]:
        return [offer for offer in offers if offer.card.item_id not in self._shown]

    def _offers(self) -> list[Offer]:
        offers = []
        for at, item in enumerate(self.slate.items):
            if item.item_id != self.playing:
                reason, anchor = self._reason(at, item)
                card = Card(item.item_id, item.title or "", item.genre or "")
                offers.append(Offer(item, card, reason, anchor, self._followed(at, item)))
        return offers

    def _reason(self, at: int, item: SlateItem) -> tuple[Reason, int]:
        """By the first source that found it, as far as the user's items bear it out."""
        anchors = self.facts.anchors
        if item.source in _BY_CHANCE:
            return _BY_CHANCE[item.source], -1
        if anchors is None:  # nothing was chosen, or it could not be read
            return "lately", -1
        if item.source == "covisit":
            return "others", anchors.followed[at]
        if item.source == "neighbours":
            return "beside", anchors.beside[at]
        if item.source == "content":
            return "reads", anchors.alike[at]
        return "chosen", anchors.alike[at]

    def _followed(self, at: int, item: SlateItem) -> int:
        anchors = self.facts.anchors
        return anchors.followed[at] if anchors is not None and "covisit" in (item.sources or ()) else -1

    def _hero(self, offers: list[Offer]) -> tuple[Hero | None, list[Offer]]:
        row = self.live.funnel.catalog.row_of(self.playing) if self.playing else -1
        if row >= 0 and self.live.funnel.reranker.allowed[row]:
            state: Literal["playing", "paused"] = "paused" if self.paused else "playing"
            return Hero(self._card(row), self._why("playing", -1, ""), state), offers
        if not offers:
            return None, offers
        first = offers[0]
        return Hero(first.card, self._why(first.reason, first.anchor, first.item.source)), offers[1:]

    def _groups(self, left: list[Offer]) -> list[Row]:
        """By what others chose after one item, then by genre, where enough are alike; what is left comes last."""
        rows: list[Row] = []
        followed = Counter(offer.followed for offer in left if offer.followed >= 0)
        for anchor, n in followed.most_common(1):
            if n >= _FEWEST:
                taken = [offer for offer in left if offer.followed == anchor][:_WIDTH]
                why = self._why("others", anchor, "covisit")
                rows.append(self._row("after", f"After {self._title(anchor)}", taken, why))
                left = self._not_shown(left)
        by_genre = Counter(offer.card.genre for offer in left if offer.card.genre)
        for genre, n in by_genre.most_common(_GROUPS):
            if n >= _FEWEST:
                taken = [offer for offer in left if offer.card.genre == genre][:_WIDTH]
                rows.append(self._of_slate(f"genre:{genre}", genre, taken))
        left = self._not_shown(left)
        if len(left) >= _FEWEST:
            rows.append(self._of_slate("also", "Also for you", left[:_WIDTH]))
        return rows

    def _of_slate(self, key: str, title: str, offers: Sequence[Offer]) -> Row:
        return self._row(key, title, offers, self._why_of(offers))

    def _row(self, key: str, title: str, offers: Sequence[Offer], why: Why) -> Row:
        self._shown |= {offer.card.item_id for offer in offers}
        return Row(key, title, tuple(offer.card for offer in offers), why, self.slate.request_id)

    def _why_of(self, offers: Sequence[Offer]) -> Why:
        """What most of them are there for."""
        (reason, anchor), _ = Counter((offer.reason, offer.anchor) for offer in offers).most_common(1)[0]
        source = next(o.item.source for o in offers if (o.reason, o.anchor) == (reason, anchor))
        return self._why(reason, anchor, source)

    def _why(self, reason: Reason, anchor: int, source: str) -> Why:
        slate, subject = self.slate, self._title(anchor) if anchor >= 0 else ""
        return Why(reason, subject, source, slate.tier, slate.route, slate.timing_ms["total"])

    def _search_row(self) -> Row:
        cards = self._ruled(self.facts.found, as_ranked=True)
        why = Why("searched", self.search, "content", _QUIET_TIER, "", self.facts.ms.get("found", 0.0))
        nothing = f"Nothing reads like “{self.search}”. Try another word, or the name of a genre."
        return Row("search", f"For “{self.search}”", cards, why, empty=nothing)

    def _like_row(self) -> Row | None:
        cards = self._ruled(self.facts.like)
        if len(cards) < _FEWEST:
            return None
        subject = self._title(self.facts.recent[0])
        why = Why("like", subject, "similar", _QUIET_TIER, "", self.facts.ms["like"])
        return Row("like", f"Like {subject}", cards, why)

    def _popular_row(self) -> Row | None:
        begin_ms = self.clock.monotonic_ms()
        cards = self._ruled(self.live.funnel.popular())
        why = Why("popular", "", "popular", "popular", "", self.clock.monotonic_ms() - begin_ms)
        return Row("popular", "Chosen most now", cards, why) if len(cards) >= _FEWEST else None

    def _fresh_row(self) -> Row | None:
        begin_ms, catalog = self.clock.monotonic_ms(), self.live.funnel.catalog
        newest = np.arange(catalog.n_released + catalog.n_fresh - 1, catalog.n_released - 1, -1, dtype=np.int32)
        scores = np.zeros(len(newest), np.float32)
        bits = np.full(len(newest), SOURCE_BIT["fresh"], np.uint16)
        cards = self._ruled(Ranked(_QUIET_TIER, newest, scores, bits))
        why = Why("fresh", "", "fresh", _QUIET_TIER, "", self.clock.monotonic_ms() - begin_ms)
        return Row("fresh", "New", cards, why) if cards else None

    def _ruled(self, ranked: Ranked | None, *, as_ranked: bool = False) -> tuple[Card, ...]:
        """What of a ranking may be shown to this user and is not shown yet; `as_ranked`: in no other order."""
        if ranked is None or not len(ranked.rows):
            return ()
        reranker, seen = self.live.funnel.reranker, self.facts.seen
        shown = self.live.funnel.catalog.rows_of(keys_of(self._shown)) if self._shown else np.empty(0, np.int32)
        request = SlateRequest(subject=None, k=_WIDTH, exclude_rows=shown[shown >= 0])
        if as_ranked:
            rows = ranked.rows[reranker.keep(ranked.rows, request, seen)][:_WIDTH]
        else:
            rows = reranker.slate(ranked, request, seen, self.clock.now_ms()).rows
        cards = tuple(self._card(row) for row in rows.tolist())
        self._shown |= {card.item_id for card in cards}
        return cards

    def _card(self, row: int) -> Card:
        catalog = self.live.funnel.catalog
        code = int(catalog.genre[row])
        return Card(catalog.ids[row], catalog.titles[row], catalog.genres[code] if code >= 0 else "")

    def _title(self, row: int) -> str:
        return self._card(row).name


def rows_of_slate(live: Live, item_ids: Iterable[str]) -> npt.NDArray[np.int32]:
    """The rows of a slate's items; one that was erased meanwhile is -1."""
    return live.funnel.catalog.rows_of(keys_of(item_ids))
