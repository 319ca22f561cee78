"""The last stage: whatever leaves, at whatever tier, has been through here. Arrays in, a slate out; never waits."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import UNKNOWN_MS, Catalog
from upnext.domain.identity import key_of
from upnext.features.scratch import Scratch
from upnext.funnel.answer import Ranked, Slate
from upnext.funnel.request import SlateRequest
from upnext.funnel.reranking import rules
from upnext.settings import RerankingSettings

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True, frozen=True)
class Steps:
    """What each rule leaves of a ranking, one after the other: rows, best first."""

    ranked: Ranked  # before any rule
    kept: Rows  # without what may not leave
    filled: Rows  # topped up from the rankings below, where it would have been short
    boosted: Rows  # fresh and promoted items moved up; cut to what matters to the slate
    spaced: Rows  # items of one genre moved apart; cut to the slate
    slate: Slate  # pins put first: what leaves


class Reranker:
    """The rules of one release's catalogue."""

    def __init__(self, catalog: Catalog, settings: RerankingSettings) -> None:
        self._catalog = catalog
        self._settings = settings
        self._scratch = Scratch(catalog.n_items)
        self._blocked_keys = {key_of(item_id) for item_id in settings.blocked}
        self._pinned_keys = {key_of(item_id) for item_id in settings.pinned}
        self.blocked = self._known(settings.blocked)
        self._pinned = self._known(settings.pinned)
        self.allowed: Mask = np.array(catalog.available)  # (n_items,) which may leave at all; always the same array
        self.allowed[self.blocked] = False
        self.version = 0  # grows with every change of an item, once it is made
        self._any_promoted = bool(catalog.promoted.any())
        self._newest_ms = int(catalog.published_ms.max(initial=UNKNOWN_MS))

    def item_changed(self, row: int) -> None:
        """Takes over what the catalogue says of `row` now; the last step of a change, since the item may then leave."""
        catalog, key = self._catalog, int(self._catalog.keys[row])
        self._any_promoted = self._any_promoted or bool(catalog.promoted[row])
        self._newest_ms = max(self._newest_ms, int(catalog.published_ms[row]))
        if key in self._pinned_keys:  # and may be new
            self._pinned = self._known(self._settings.pinned)
        self.allowed[row] = catalog.available[row] and key not in self._blocked_keys
        self.version += 1

    def withdraw(self, row: int) -> None:
        """The item of `row` leaves no more, whatever else becomes of it."""
        self.allowed[row] = False
        self.version += 1

    def holds_until_ms(self, rows: Rows, now_ms: int) -> float:
        """When, since 1970, one of `rows` next begins or ceases to be fresh; infinity where none will."""
        published_ms = self._catalog.published_ms.take(rows)
        published_ms = published_ms[published_ms > now_ms - self._settings.fresh_ms]
        moments = np.concatenate([published_ms, published_ms + self._settings.fresh_ms])
        return float(min(moments[moments > now_ms].tolist(), default=np.inf))

    def _known(self, item_ids: Iterable[str]) -> Rows:
        rows = [self._catalog.row_of(item_id) for item_id in item_ids]
        return np.array([row for row in rows if row >= 0], np.int32)

    def keep(self, rows: Rows, request: SlateRequest, seen_rows: Rows) -> Mask:
        """(n_rows,) bool: which may leave in a slate for this request."""
        kept = self.allowed.take(rows)
        if request.allowed is not None:
            kept &= request.allowed.take(rows)
        if self._settings.drop_seen and len(seen_rows):
            kept &= self._scratch.outside(rows, seen_rows)
        if len(request.exclude_rows):
            kept &= self._scratch.outside(rows, request.exclude_rows)
        return kept

    def reach(self, k: int) -> int:
        """How many of the items that may leave matter to a slate of `k`: boosts bring nothing up from further below."""
        settings = self._settings
        spaced = k + settings.genre_lookahead if settings.genre_gap else k
        return spaced + settings.fresh_places + settings.promoted_places

    def slate(
        self, ranked: Ranked, request: SlateRequest, seen_rows: Rows, now_ms: int, below: Iterable[Ranked] = ()
    ) -> Slate:
        """`ranked` after all rules, cut to `request.k`, topped up from the rankings `below` where it would be short."""
        kept = self._kept(ranked, request, seen_rows)
        if len(kept.rows) < request.k:
            kept = self._topped_up(kept, request, seen_rows, below)
        order = self._order(kept.rows, request.k, now_ms)
        slate = Slate(kept.tier, kept.rows.take(order), kept.scores.take(order), kept.sources.take(order))
        return self._pin(slate, request, seen_rows) if len(self._pinned) else slate

    def steps(
        self, ranked: Ranked, request: SlateRequest, seen_rows: Rows, now_ms: int, below: Iterable[Ranked] = ()
    ) -> Steps:
        """What `slate` does, rule by rule, for whoever wants to know why. It ends in the same slate."""
        kept = self._kept(ranked, request, seen_rows)
        filled = kept if len(kept.rows) >= request.k else self._topped_up(kept, request, seen_rows, below)
        reached = filled.rows[: self.reach(request.k)]
        order = self._boosted(reached, now_ms)
        boosted = reached if order is None else reached.take(order)
        order = self._order(filled.rows, request.k, now_ms)
        spaced = Slate(filled.tier, filled.rows.take(order), filled.scores.take(order), filled.sources.take(order))
        slate = self._pin(spaced, request, seen_rows) if len(self._pinned) else spaced
        return Steps(ranked, kept.rows, filled.rows, boosted, spaced.rows, slate)

    def _kept(self, ranked: Ranked, request: SlateRequest, seen_rows: Rows) -> Ranked:
        keep = self.keep(ranked.rows, request, seen_rows)
        if np.count_nonzero(keep) == len(keep):  # a third of what `all` takes
            return ranked
        return Ranked(ranked.tier, ranked.rows[keep], ranked.scores[keep], ranked.sources[keep])

    def _topped_up(self, kept: Ranked, request: SlateRequest, seen_rows: Rows, below: Iterable[Ranked]) -> Ranked:
        for lower in below:
            kept = self._joined(kept, self._kept(lower, request, seen_rows))
            if len(kept.rows) >= request.k:
                break
        return kept

    def _joined(self, better: Ranked, lower: Ranked) -> Ranked:
        """`better`, then what `lower` has beside it; the tier stays that of the better, unless it is empty."""
        if not len(better.rows):
            return lower
        new = self._scratch.outside(lower.rows, better.rows)
        return Ranked(
            better.tier,
            np.concatenate([better.rows, lower.rows[new]]),
            np.concatenate([better.scores, lower.scores[new]]),
            np.concatenate([better.sources, lower.sources[new]]),
        )

    def _order(self, rows: Rows, k: int, now_ms: int) -> npt.NDArray[np.intp]:
        """(≤ k,) positions in `rows`, best first."""
        settings = self._settings
        rows = rows[: self.reach(k)]
        reach = k + settings.genre_lookahead if settings.genre_gap else k  # as far down as spacing looks
        order = self._boosted(rows, now_ms)
        if order is None:
            order = np.arange(len(rows))
        if settings.genre_gap == 0:
            return order[:k]
        genres = self._catalog.genre.take(rows.take(order[:reach])).tolist()
        return order.take(rules.spaced(genres, k, gap=settings.genre_gap, lookahead=settings.genre_lookahead))

    def _boosted(self, rows: Rows, now_ms: int) -> rules.Order | None:
        settings, catalog = self._settings, self._catalog
        if not self._any_promoted and self._newest_ms <= now_ms - settings.fresh_ms:
            return None
        return rules.boosted(
            catalog.published_ms.take(rows), catalog.promoted.take(rows), now_ms, fresh_ms=settings.fresh_ms,
            fresh_places=settings.fresh_places, promoted_places=settings.promoted_places,
        )  # fmt: skip

    def _pin(self, slate: Slate, request: SlateRequest, seen_rows: Rows) -> Slate:
        """Pins first. One that was not in the slate has no score and no source."""
        pins = self._pinned[self.keep(self._pinned, request, seen_rows)]
        before = slate.rows.tolist()
        rows = rules.with_pins(before, pins.tolist(), request.k)
        place = {row: at for at, row in enumerate(before)}
        at = np.array([place.get(row, -1) for row in rows], np.intp)  # -1: the zero at the end
        scores, sources = np.append(slate.scores, np.float32(0)), np.append(slate.sources, np.uint16(0))
        return Slate(slate.tier, np.array(rows, np.int32), scores[at], sources[at])
