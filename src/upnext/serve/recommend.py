"""POST /v1/recommend and /v1/rank: from the wire to the funnel and back, inside the deadline."""

import logging
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from starlette.types import Receive, Scope

from upnext.clock import Deadline
from upnext.domain.identity import keys_of, subject_of
from upnext.errors import RequestError, StoreError
from upnext.features.signals import signals_of
from upnext.features.spec import SOURCE_BIT, SOURCES
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer, Slate
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.metrics.recorder import Metrics
from upnext.serve.engine import Engine
from upnext.serve.http import failure, new_request_id, read_body
from upnext.serve.messages import (
    DegradedStage,
    RankedItem,
    RankRequest,
    RankResponse,
    RecommendRequest,
    RecommendResponse,
    SlateItem,
    decoded,
)
from upnext.serve.steering import Course
from upnext.settings import Settings

_log = logging.getLogger(__name__)
_NO_ROWS: npt.NDArray[np.int32] = np.empty(0, np.int32)
_SOURCE_OF_BITS = [next((s for s in SOURCES if bits & SOURCE_BIT[s]), "popular") for bits in range(256)]
_recommend_decoder = msgspec.json.Decoder(RecommendRequest)
_rank_decoder = msgspec.json.Decoder(RankRequest)


def live_or_503(engine: Engine) -> Live:
    """The release in force. Raises `RequestError` 503 while there is none."""
    live = engine.live
    if live is None:
        raise failure(503, "not_ready", "no release is in force yet; wait for /readyz to turn green")
    return live


class Recommend:
    """Slates."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    async def recommend(self, scope: Scope, receive: Receive) -> RecommendResponse:
        """The best slate that the budget allows; at the deadline, what the answer holds."""
        engine = self._engine
        begin_ms = engine.clock.monotonic_ms()
        live = live_or_503(engine)
        body = decoded(_recommend_decoder, await read_body(receive, engine.settings.serve.max_body_bytes))
        engine.items.heed(live)
        _check_k(body.k, engine.settings)
        asked_ms = _asked_ms(body.budget_ms, engine.settings)
        course = engine.steering.begin(body.context.region, live.funnel.catalog.regions, body.surface, asked_ms)
        try:
            response, waited_ms = await self._answered(body, live, course, begin_ms)
        except BaseException:
            engine.steering.give_up(course)
            raise
        engine.steering.finish(course, waited_ms, response.timing_ms["total"])
        return response

    async def _answered(
        self, body: RecommendRequest, live: Live, course: Course, begin_ms: float
    ) -> tuple[RecommendResponse, float]:
        """The response, and how long its work waited for the compute thread."""
        engine = self._engine
        deadline = Deadline(engine.clock, begin_ms + course.budget_ms)
        request = _slate_request(body, live, course)
        request_id = new_request_id()
        answer = Answer(live.funnel.popular(), capture=body.consent and engine.served.keeps(request_id))
        if course.why:
            answer.degrade("funnel", course.why)

        def job() -> None:
            answer.timing_ms["queue"] = engine.clock.monotonic_ms() - begin_ms
            engine.answer(live, request, answer, deadline)

        def given_up(spent_ms: float) -> None:
            live.funnel.stages.give_up(answer, spent_ms)

        # What is popular, with the rules applied, is made here and now: the compute thread has enough to do.
        if course.most != "popular" and not await engine.compute.run(job, deadline, given_up):
            answer.degrade("funnel", "deadline")
        slate = answer.slate or engine.finish(live, request, answer)
        total_ms = engine.clock.monotonic_ms() - begin_ms
        timing = {**answer.timing_ms, "total": total_ms}
        self._count(slate.tier, timing, answer)
        items = items_of(slate, live, body.explain)
        if answer.capture:
            engine.keep_slate(live, request, answer, slate, request_id, [item.item_id for item in items])
        response = RecommendResponse(
            request_id=request_id,
            items=items,
            tier=slate.tier,
            route="live",
            exit=answer.exit if slate.tier == "full" else "",
            degraded=[DegradedStage(each.stage, each.why) for each in answer.degraded],
            release=live.release_id,
            state_version=answer.state_version,
            timing_ms={stage: round(ms, 3) for stage, ms in timing.items()},
        )
        return response, answer.timing_ms.get("queue", total_ms if course.inside else 0.0)

    def _count(self, tier: str, timing: dict[str, float], answer: Answer) -> None:
        self._metrics.count_request(tier, "live")
        for stage, ms in timing.items():
            self._metrics.observe_stage(stage, ms)
        for each in answer.degraded:
            self._metrics.count_degraded(each.stage, each.why)

    async def rank(self, scope: Scope, receive: Receive) -> RankResponse:
        """The caller's items in the ranker's order; at the deadline, in the caller's."""
        engine = self._engine
        begin_ms = engine.clock.monotonic_ms()
        live = live_or_503(engine)
        body = decoded(_rank_decoder, await read_body(receive, engine.settings.serve.max_body_bytes))
        budget_ms = _asked_ms(body.budget_ms, engine.settings) or engine.settings.budget.full_ms
        deadline = Deadline(engine.clock, begin_ms + budget_ms)
        engine.items.heed(live)
        item_ids = list(dict.fromkeys(body.items))
        subject = subject_of(body.user_id, body.session_id) if body.consent else None
        all_rows = live.funnel.catalog.rows_of(keys_of(item_ids))
        known = np.flatnonzero((all_rows >= 0) & live.funnel.reranker.allowed.take(all_rows, mode="clip"))
        scores = np.linspace(1.0, 0.0, len(known), endpoint=False, dtype=np.float32)
        ranked: list[Any] = []

        def job() -> None:
            funnel, view = live.funnel, _view_or_nobody(engine, live, subject, deadline)
            signals = signals_of(view, funnel.catalog, funnel.vectors, funnel.crowd.covisits)
            sources = np.zeros(len(known), np.uint8)  # the caller's, not any source's
            ranked.append(funnel.score(view, signals, all_rows[known], sources))

        if live.funnel.ranker is not None and len(known) > 0:
            try:
                await engine.compute.run(job, deadline)
            except Exception:
                _log.exception("the ranker failed; the caller's items stay in the caller's order")
        reached = bool(ranked) and bool(np.isfinite(ranked[0]).all())
        if reached:
            scores = ranked[0]
        order, ranked_places = np.argsort(-scores, kind="stable"), set(known.tolist())
        return RankResponse(
            request_id=new_request_id(),
            items=[RankedItem(item_id=item_ids[known[at]], score=float(scores[at])) for at in order.tolist()],
            unknown=[item_id for at, item_id in enumerate(item_ids) if at not in ranked_places],
            tier="full" if reached else "popular",
            release=live.release_id,
            timing_ms={"total": round(engine.clock.monotonic_ms() - begin_ms, 3)},
        )


def _view_or_nobody(engine: Engine, live: Live, subject: str | None, deadline: Deadline) -> UserView:
    """What is known of a subject, or of nobody while states are out of reach."""
    try:
        return engine.reader.view(live, subject, deadline)
    except StoreError:
        return UserView()


def _asked_ms(asked: float | None, settings: Settings) -> float | None:
    if asked is not None and asked > settings.budget.contract_ms:
        raise RequestError(f"budget_ms is at most {settings.budget.contract_ms:g}; ask for less", path="$.budget_ms")
    return asked


def _check_k(k: int, settings: Settings) -> None:
    if k > settings.serve.max_k:
        raise RequestError(f"k is at most {settings.serve.max_k}; ask for less", path="$.k")


def _slate_request(body: RecommendRequest, live: Live, course: Course) -> SlateRequest:
    catalog = live.funnel.catalog
    excluded = catalog.rows_of(keys_of(body.exclude)) if body.exclude else _NO_ROWS
    allowed = None
    if body.filters.genres or (body.context.region is not None and catalog.regions):
        allowed = catalog.allowed(genres=body.filters.genres, region=body.context.region)
    return SlateRequest(
        subject=subject_of(body.user_id, body.session_id) if body.consent else None,
        k=body.k,
        surface=body.surface,
        mode=body.context.mode,
        exclude_rows=excluded[excluded >= 0],
        allowed=allowed,
        quality=course.quality,
        most=course.most,
    )


def items_of(slate: Slate, live: Live, explain: bool) -> list[SlateItem]:
    """The items of a slate for the wire; with `explain` also title, genre and every source."""
    catalog = live.funnel.catalog
    item_ids, scores, bits = catalog.ids.take(slate.rows), slate.scores.tolist(), slate.sources.tolist()
    if not explain:
        return [
            SlateItem(item_id=item_id, score=score, source=_SOURCE_OF_BITS[bit])
            for item_id, score, bit in zip(item_ids, scores, bits, strict=True)
        ]
    genres = [catalog.genres[code] if code >= 0 else None for code in catalog.genre.take(slate.rows).tolist()]
    titles = catalog.titles.take(slate.rows)
    return [
        SlateItem(
            item_id=item_id,
            score=score,
            source=_SOURCE_OF_BITS[bit],
            title=title,
            genre=genre,
            sources=[source for source in SOURCES if bit & SOURCE_BIT[source]],
        )
        for item_id, score, bit, title, genre in zip(item_ids, scores, bits, titles, genres, strict=True)
    ]
