"""Why a request is answered as it is: the funnel once more, with everything that it otherwise throws away.

Takes about twice as long as a slate; for a thread in which no request waits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import UNKNOWN_MS
from upnext.clock import Clock, Deadline
from upnext.features.spec import SOURCES
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer, Ranked
from upnext.funnel.explained import (
    Explained,
    ItemTrace,
    Move,
    SourceTrace,
    StageTrace,
    genre_of,
)
from upnext.funnel.funnel import Funnel
from upnext.funnel.nearest import recent_items
from upnext.funnel.request import SlateRequest
from upnext.funnel.reranking.reranker import Steps

Rows = npt.NDArray[np.int32]
Ranks = Mapping[int, int]  # by row, from 1
_MOST_ITEMS = 100
_FIRST = 20  # of a source


def explain(
    funnel: Funnel,
    request: SlateRequest,
    read: Callable[[Deadline], UserView],
    deadline: Deadline,
    *,
    release: str,
    clock: Clock,
) -> Explained:
    """`request` as `funnel.run` answers it now, of which `explained.items[:k]` is the slate.

    `read` and `deadline` as of `Funnel.run`. Counts as one more request with costs and breakers, and nowhere else.
    """
    views: list[UserView] = []

    def reading(until: Deadline) -> UserView:
        views.append(read(until))
        return views[0]

    answer = Answer(funnel.popular())
    funnel.run(request, answer, reading, deadline)
    view = views[0] if views else UserView()
    found = [] if request.most == "popular" else funnel.found(view, request, Deadline.never(clock))
    steps = funnel.steps(request, answer)
    trace = _Trace(funnel, request, answer, found, steps, clock.now_ms())
    return Explained(
        subject=request.subject,
        release=release,
        tier=steps.slate.tier,
        exit=answer.exit if steps.slate.tier == "full" else "",
        route="live",
        route_why="absent",
        course=request.most,
        quality=round(request.quality, 4),
        degraded=[f"{each.stage}: {each.why}" for each in answer.degraded],
        state_version=answer.state_version,
        n_interactions=answer.n_interactions,
        recent=recent_items(funnel, view),
        stages=trace.stages(),
        sources=trace.sources(),
        rules=trace.rules(),
        items=trace.items(),
    )


class _Trace:
    """What is known of one request once it has been answered."""

    def __init__(
        self,
        funnel: Funnel,
        request: SlateRequest,
        answer: Answer,
        found: list[tuple[int, float, Rows]],
        steps: Steps,
        now_ms: int,
    ) -> None:
        self._funnel, self._request, self._answer, self._found = funnel, request, answer, found
        self._steps, self._now_ms = steps, now_ms
        self._merged = funnel.retrieval.merged(found)
        held = {each.tier: each for each in (*answer.below, answer.ranked)}
        self._fast: Ranked | None = held.get("fast")
        self._full: Ranked | None = held.get("full")
        self._in_source = {SOURCES[bit.bit_length() - 1]: _ranks(rows) for bit, _, rows in found}
        self._in_merge = _ranks(self._merged.rows)
        self._in_fast = _ranks(self._fast.rows) if self._fast else {}
        self._in_full = _ranks(self._full.rows) if self._full else {}
        self._places = _ranks(steps.slate.rows)
        self._dropped = self._why_dropped()
        self._boosted, self._spaced = _ranks(steps.boosted), _ranks(steps.spaced)
        self._filled, self._kept, self._ranked = _ranks(steps.filled), _ranks(steps.kept), _ranks(steps.ranked.rows)
        self._moves = {
            row: self._moves_of(row) for row in dict.fromkeys([*self._in_merge, *self._ranked, *self._filled])
        }

    def stages(self) -> list[StageTrace]:
        timing_ms, n_fast = self._answer.timing_ms, len(self._in_fast)
        counts = {
            "state": (0, self._answer.n_interactions),
            "retrieval": (int(np.count_nonzero(self._funnel.reranker.allowed)), n_fast),
            "ranking": (n_fast if self._full else 0, len(self._in_full)),
            "reranking": (len(self._ranked), len(self._places)),
        }
        return [
            StageTrace(stage=stage, ms=round(timing_ms.get(stage, 0.0), 3), n_in=n_in, n_out=n_out)
            for stage, (n_in, n_out) in counts.items()
        ]

    def sources(self) -> list[SourceTrace]:
        ids = self._funnel.catalog.ids
        return [
            SourceTrace(
                source=SOURCES[bit.bit_length() - 1],
                weight=round(weight, 4),
                n=len(rows),
                first=[ids[row] for row in rows[:_FIRST].tolist()],
            )
            for bit, weight, rows in self._found
        ]

    def rules(self) -> dict[str, int]:
        """Most frequent first."""
        return dict(Counter(move.rule for moves in self._moves.values() for move in moves).most_common())

    def items(self) -> list[ItemTrace]:
        slate = self._steps.slate.rows.tolist()
        shown = dict.fromkeys(slate)
        left = max(_MOST_ITEMS - len(slate), 0)
        first = (*self._ranked, *self._in_merge) if self._full else tuple(self._in_merge)
        # Half of what is left for those that the rules dropped or moved, half for the best that did not get there.
        dropped = [row for row in self._in_merge if row in self._dropped][: left // 2]
        missed = [row for row in first if row not in shown and row not in self._dropped]
        shown |= dict.fromkeys(missed[: left - len(dropped)])
        return [self._item(row) for row in (*shown, *dropped)]

    def _item(self, row: int) -> ItemTrace:
        catalog, full = self._funnel.catalog, self._full
        merged, ranked = self._in_merge.get(row), self._in_full.get(row)
        return ItemTrace(
            item_id=catalog.ids[row],
            title=catalog.titles[row],
            genre=genre_of(row, catalog),
            sources={source: ranks[row] for source, ranks in self._in_source.items() if row in ranks},
            merged_rank=merged,
            merged_score=None if merged is None else round(float(self._merged.scores[merged - 1]), 6),
            candidate_rank=self._in_fast.get(row),
            ranker_rank=ranked,
            ranker_score=None if ranked is None or full is None else round(float(full.scores[ranked - 1]), 4),
            moves=self._moves.get(row, []),
            place=self._places.get(row),
        )

    def _moves_of(self, row: int) -> list[Move]:
        return [move for move in self._each_move(row) if move.before != move.after]

    def _each_move(self, row: int) -> Iterable[Move]:
        """In the order of the rules."""
        merged, place = self._in_merge.get(row), self._places.get(row)
        if row in self._dropped:
            yield Move(rule=self._dropped[row], before=self._ranked.get(row, merged), after=None, why="may not leave")
            return
        yield from self._cuts(row)
        filled, boosted, spaced = self._filled.get(row), self._boosted.get(row), self._spaced.get(row)
        if filled is not None and row not in self._kept:
            yield Move(rule="topped_up", before=None, after=filled, why="from the ranking below; the slate was short")
        if boosted is not None:
            yield Move(rule="boost", before=filled, after=boosted, why=self._why_boosted(row))
        if boosted is not None and spaced is not None:
            why = "its genre was near" if spaced > boosted else "those before it were of a genre that was near"
            yield Move(rule="genre_gap", before=boosted, after=spaced, why=why)
        if place is not None and spaced != place:
            why = "pinned" if spaced is None or place < spaced else "for pinned items"
            yield Move(rule="pin", before=spaced, after=place, why=why)
        elif place is None and filled is not None:
            yield Move(rule="cut", before=boosted or filled, after=None, why=f"past the {self._request.k} of the slate")

    def _cuts(self, row: int) -> Iterable[Move]:
        """Where a stage was left, to which the number of items sets an end."""
        if row in self._ranked:
            return
        if self._full and row in self._in_fast:
            before = self._in_fast[row]
            yield Move(rule="cut", before=before, after=None, why=f"not among the ranker's first {len(self._in_full)}")
        elif row in self._in_merge:
            before, n = self._in_merge[row], len(self._in_fast)
            yield Move(rule="cut", before=before, after=None, why=f"past the first {n} candidates")

    def _why_boosted(self, row: int) -> str:
        catalog, settings = self._funnel.catalog, self._funnel.settings.reranking
        published_ms = int(catalog.published_ms[row])
        fresh = published_ms != UNKNOWN_MS and self._now_ms - settings.fresh_ms < published_ms <= self._now_ms
        whys = [why for why, holds in (("fresh", fresh), ("promoted", bool(catalog.promoted[row]))) if holds]
        return " and ".join(whys) or "for fresh or promoted items"

    def _why_dropped(self) -> dict[int, str]:
        """By row, the first reason for which an item may not leave."""
        request, reranker, catalog = self._request, self._funnel.reranker, self._funnel.catalog
        rows = np.fromiter(dict.fromkeys([*self._in_merge, *self._steps.ranked.rows.tolist()]), np.int32)
        everything = np.ones(catalog.n_items, np.bool_)
        of_genre = catalog.allowed(genres=request.genres) if request.genres else everything
        reasons: tuple[tuple[str, npt.NDArray[np.bool_]], ...] = (
            ("blocked", np.isin(rows, reranker.blocked)),
            ("unavailable", ~reranker.allowed.take(rows)),
            ("seen", self._seen(rows)),
            ("excluded", np.isin(rows, request.exclude_rows)),
            ("genre_filter", ~of_genre.take(rows)),
            ("region", ~(everything if request.allowed is None else request.allowed).take(rows)),
        )
        found: dict[int, str] = {}
        for why, holds in reasons:
            for row in rows[holds].tolist():
                found.setdefault(row, why)
        return {row: why for row, why in found.items() if row not in self._places}

    def _seen(self, rows: Rows) -> npt.NDArray[np.bool_]:
        if not self._funnel.settings.reranking.drop_seen:
            return np.zeros(len(rows), np.bool_)
        return np.isin(rows, self._answer.seen_rows)


def _ranks(rows: Rows) -> dict[int, int]:
    return {row: rank for rank, row in enumerate(rows.tolist(), start=1)}
