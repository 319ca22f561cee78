"""POST /v1/rank: the caller's own items in the ranker's order, inside the deadline."""

import logging
from typing import Any

import msgspec
import numpy as np
from starlette.types import Receive, Scope

from upnext.clock import Deadline
from upnext.domain.identity import keys_of, subject_of
from upnext.errors import StoreError
from upnext.features.user_view import UserView
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.metrics.seldom import Seldom
from upnext.serve.engine import Engine
from upnext.serve.http import new_request_id, read_body
from upnext.serve.messages import RankedItem, RankRequest, RankResponse, decoded
from upnext.serve.recommend import check_budget, live_or_503

_failures = Seldom(logging.getLogger(__name__))
_decoder = msgspec.json.Decoder(RankRequest)


class Rank:
    """Orders for items that the caller names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def rank(self, scope: Scope, receive: Receive) -> RankResponse:
        """The caller's items in the ranker's order; at the deadline, in the caller's."""
        engine = self._engine
        begin_ms = engine.clock.monotonic_ms()
        live = live_or_503(engine)
        body = decoded(_decoder, await read_body(receive, engine.settings.serve.max_body_bytes))
        check_budget(body.budget_ms, engine.settings)
        deadline = Deadline(engine.clock, begin_ms + (body.budget_ms or engine.settings.budget.full_ms))
        engine.items.heed(live)
        item_ids = list(dict.fromkeys(body.items))
        subject = subject_of(body.user_id, body.session_id) if body.consent else None
        all_rows = live.funnel.catalog.rows_of(keys_of(item_ids))
        known = np.flatnonzero((all_rows >= 0) & live.funnel.reranker.allowed.take(all_rows, mode="clip"))
        scores = np.linspace(1.0, 0.0, len(known), endpoint=False, dtype=np.float32)
        ranked: list[Any] = []

        def job() -> None:
            funnel, view = live.funnel, _view_or_nobody(engine, live, subject, deadline)
            signals = funnel.signals(view, SlateRequest(subject, k=len(known)))
            sources = np.zeros(len(known), np.uint16)  # the caller's, not any source's
            ranked.append(funnel.score(view, signals, all_rows[known], sources))

        if live.funnel.ranker is not None and len(known) > 0:
            try:
                await engine.compute.run(job, deadline)
            except Exception as error:
                _failures.exception("the ranker failed; the caller's items stay in the caller's order", error)
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
