"""What is told of a slate that leaves: counts, the diary of slow ones, a line in the log, a span; decides nothing."""

import os
from collections.abc import Mapping

from upnext.domain.identity import key_of
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.metrics.diary import SlowRequest, cause_of
from upnext.metrics.logs import access_log
from upnext.metrics.recorder import Metrics
from upnext.metrics.tracing import Headers, Tracing
from upnext.serve.engine import Engine


class Watched:
    """One tenant's slates, as those who run the server see them. Used by the event loop alone."""

    def __init__(self, engine: Engine, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._engine = engine
        self._metrics = metrics
        self._tracing = tracing
        self._counts = engine.settings.observe.slates
        self._access_share = engine.settings.observe.access_share

    def answered(
        self,
        request_id: str,
        request: SlateRequest,
        live: Live,
        answer: Answer,
        tier: str,
        timing_ms: Mapping[str, float],
        headers: Headers,
    ) -> None:
        """A slate of `tier` is about to leave; `timing_ms` by stage, and under `total` the whole of it."""
        if not self._counts:
            return
        metrics, engine = self._metrics, self._engine
        metrics.count_request(
            tier, answer.route, timing_ms, region=request.region, n_interactions=answer.n_interactions
        )
        for each in answer.degraded:
            metrics.count_degraded(each.stage, each.why)
        if timing_ms["total"] > engine.diary.least_ms:
            engine.diary.note(self._slow(request_id, request, live, answer, tier, timing_ms))
        if self._access_share and key_of(request_id) < self._access_share * 2**64:
            fields = {"tier": tier, "route": answer.route, "tenant": engine.tenant, "user": request.subject}
            timing = {f"{stage}_ms": round(ms, 3) for stage, ms in timing_ms.items()}
            access_log.info("slate", extra={"fields": {**fields, "release": live.release_id, **timing}})
        if self._tracing is not None:
            about = {"request_id": request_id, "tier": tier, "route": answer.route, "exit": answer.exit}
            about |= {"tenant": engine.tenant, "release": live.release_id, "why": answer.why}
            self._tracing.trace("recommend", headers, timing_ms, about)

    def _slow(
        self,
        request_id: str,
        request: SlateRequest,
        live: Live,
        answer: Answer,
        tier: str,
        timing_ms: Mapping[str, float],
    ) -> SlowRequest:
        engine, total_ms = self._engine, timing_ms["total"]
        end_ms = engine.clock.monotonic_ms()
        gc_ms = engine.gc_pauses.within_ms(end_ms - total_ms, end_ms)
        return SlowRequest(
            at_ms=engine.clock.now_ms(),
            request_id=request_id,
            subject=request.subject,
            surface=request.surface,
            tier=tier,
            route=answer.route,
            exit=answer.exit,
            n_interactions=answer.n_interactions,
            total_ms=total_ms,
            timing_ms={stage: ms for stage, ms in timing_ms.items() if stage != "total"},
            gc_ms=gc_ms,
            cause=cause_of(timing_ms, total_ms, gc_ms),
            degraded=[f"{each.stage}: {each.why}" for each in answer.degraded],
            release=live.release_id,
            worker=os.getpid(),
        )
