"""POST /v1/recommend: from the wire to a shortlist or the funnel and back, inside the deadline."""

import logging
from dataclasses import dataclass, replace
from typing import cast

import msgspec
import numpy as np
import numpy.typing as npt
from starlette.types import Receive, Scope

from upnext.ahead.l1 import AtHand
from upnext.ahead.making import answer_of, is_enough, region_of, shared
from upnext.ahead.single_flight import SingleFlight
from upnext.clock import Deadline
from upnext.domain.identity import keys_of, subject_of
from upnext.errors import RequestError, StoreError
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest, known_names
from upnext.funnel.route import LIVE_SHORT, Route
from upnext.metrics.logs import current_request
from upnext.metrics.seldom import Seldom
from upnext.metrics.tracing import Headers
from upnext.serve.engine import Engine
from upnext.serve.http import failure, new_request_id, read_body
from upnext.serve.messages import DegradedStage, RecommendRequest, RecommendResponse, SlateItem, decoded
from upnext.serve.popular_slates import PopularSlates
from upnext.serve.prepared import Prepared, prepared_of
from upnext.serve.slate_items import items_of
from upnext.serve.steering import Course
from upnext.serve.watched import Watched
from upnext.settings import Settings
from upnext.state.changes import Change

_NO_ROWS: npt.NDArray[np.int32] = np.empty(0, np.int32)
_failures = Seldom(logging.getLogger(__name__))
_decoder = msgspec.json.Decoder(RecommendRequest)


def live_or_503(engine: Engine) -> Live:
    """The release in force. Raises `RequestError` 503 while there is none."""
    live = engine.live
    if live is None:
        raise failure(503, "not_ready", "no release is in force yet; wait for /readyz to turn green")
    return live


def check_budget(asked_ms: float | None, settings: Settings) -> None:
    """Raises `RequestError` for a budget past the contract."""
    if asked_ms is not None and asked_ms > settings.budget.contract_ms:
        raise RequestError(f"budget_ms is at most {settings.budget.contract_ms:g}; ask for less", path="$.budget_ms")


@dataclass(slots=True)
class _Asked:
    """One request under way."""

    body: RecommendRequest
    live: Live
    begin_ms: float  # on the monotonic clock
    request_id: str
    request: SlateRequest
    change: Change  # as of before anything was read of the user: whoever saw another one knows of other events
    headers: Headers
    why: str = "absent"  # there is no shortlist to answer it from
    prepared: Prepared | None = None


class Recommend:
    """Slates: from what is at hand, from what another request is at for the same user, or from the funnel."""

    def __init__(self, engine: Engine, watched: Watched) -> None:
        self._engine = engine
        self._watched = watched
        self._flights: SingleFlight[Answer] = SingleFlight()
        self._popular = PopularSlates()

    async def recommend(self, scope: Scope, receive: Receive) -> RecommendResponse:
        """The best slate that the budget allows; at the deadline, what the answer holds."""
        begin_ms = self._engine.clock.monotonic_ms()
        live_or_503(self._engine)
        body = decoded(_decoder, await read_body(receive, self._engine.settings.serve.max_body_bytes))
        return await self.answer_for(body, scope["headers"], begin_ms)

    async def answer_for(self, body: RecommendRequest, headers: Headers, begin_ms: float) -> RecommendResponse:
        """The same for a request that was read already, which began at `begin_ms` on the monotonic clock."""
        engine = self._engine
        live = live_or_503(engine)
        engine.items.heed(live)
        check_request(body, engine.settings)
        quality = engine.steering.quality_of(body.context.region, live.funnel.catalog.regions)
        request = slate_request(body, live, quality)
        change = engine.ahead.shortlists.change_of(request.subject)
        asked = _Asked(body, live, begin_ms, new_request_id(), request, change, headers)
        current_request.set(asked.request_id)
        answer = self._at_hand_or_none(asked) or await self._shared(asked) or await self._worked_out(asked)
        return self._response(asked, answer)

    def _at_hand_or_none(self, asked: _Asked) -> Answer | None:
        try:
            return self._at_hand(asked)
        except StoreError:  # whoever reads states tells of it
            return None
        except Exception as error:
            _failures.exception("shortlists failed; requests go on without them", error)
            asked.prepared = None
            return None

    def _at_hand(self, asked: _Asked) -> Answer | None:
        """The answer from a shortlist that can be had in microseconds; None where there is none, or too short a one."""
        engine, live, request = self._engine, asked.live, asked.request
        route, at_hand = engine.ahead.shortlists.find(live, request)
        asked.why = route.why
        if at_hand is None:
            return None
        if not is_enough(at_hand.shortlist, request):
            asked.why = LIVE_SHORT.why
            return None
        begin_ms, now_ms = engine.clock.monotonic_ms(), engine.clock.now_ms()
        prepared: Prepared | None = at_hand.prepared
        if prepared is None or not prepared.serves(request, live, now_ms):
            prepared = at_hand.prepared = prepared_of(request, self._answer_of(asked, at_hand, route), live, now_ms)
        if prepared is not None and not asked.body.explain:
            asked.prepared = prepared
            answer = prepared.answer
            answer.why, answer.route = route.why, route.name
        else:
            answer = self._answer_of(asked, at_hand, route)
            answer.slate = live.funnel.finish(request, answer)
        answer.timing_ms = {"reranking": engine.clock.monotonic_ms() - begin_ms}
        return answer

    def _answer_of(self, asked: _Asked, at_hand: AtHand, route: Route) -> Answer:
        popular = asked.live.funnel.popular()
        return answer_of(at_hand.shortlist, popular, at_hand.seen_rows, at_hand.state_version, route)

    async def _shared(self, asked: _Asked) -> Answer | None:
        """The answer that another request for the same gets, as far as it is within this one's time; None: none is.

        One that began before an event of the user was acknowledged is not for the same: it does not know of it.
        """
        flight = self._flights.under_way(_flight_key(asked)) if self._engine.ahead.feed.trusted else None
        if flight is None:
            return None
        engine = self._engine
        budget_ms = engine.steering.budget_ms(asked.body.surface, asked.body.budget_ms)
        deadline = Deadline(engine.clock, asked.begin_ms + budget_ms)
        landed = await flight.landed(deadline.left_ms())
        if landed and flight.value.slate is None:  # its client went away, or it failed
            return None
        answer = shared(flight.value)
        if not landed:
            answer.degrade("funnel", "deadline")
        answer.slate = engine.finish(asked.live, asked.request, answer)
        answer.timing_ms["queue"] = engine.clock.monotonic_ms() - asked.begin_ms
        return answer

    async def _worked_out(self, asked: _Asked) -> Answer:
        """The answer from the funnel, as far as load and time allow."""
        engine, body, live = self._engine, asked.body, asked.live
        course = engine.steering.begin(
            body.context.region, live.funnel.catalog.regions, body.surface, body.budget_ms
        )  # fmt: skip
        request = asked.request if course.most == "full" else replace(asked.request, most=course.most)
        answer = Answer(live.funnel.popular(), capture=body.consent and engine.served.keeps(asked.request_id))
        answer.why = asked.why
        if course.why:
            answer.degrade("funnel", course.why)
        key = _flight_key(asked)
        leads = course.most == "full" and not len(request.exclude_rows) and self._flights.under_way(key) is None
        if leads:
            self._flights.begin(key, answer)
        try:
            await self._computed(asked, request, answer, course)
        except BaseException:
            engine.steering.give_up(course)
            raise
        finally:
            if leads:
                self._flights.end(key)
        total_ms = engine.clock.monotonic_ms() - asked.begin_ms
        engine.steering.finish(course, answer.timing_ms.get("queue", total_ms if course.inside else 0.0), total_ms)
        return answer

    async def _computed(self, asked: _Asked, request: SlateRequest, answer: Answer, course: Course) -> None:
        """Takes `answer` through the funnel, in the compute thread, until its slate is there or its time is over."""
        engine, live = self._engine, asked.live
        deadline = Deadline(engine.clock, asked.begin_ms + course.budget_ms)

        def job() -> None:
            current_request.set(asked.request_id)
            answer.timing_ms["queue"] = engine.clock.monotonic_ms() - asked.begin_ms
            engine.answer(live, request, answer, deadline)

        def given_up(spent_ms: float) -> None:
            live.funnel.stages.give_up(answer, spent_ms)

        # What is popular, with the rules applied, is made here and now: the compute thread has enough to do.
        if course.most == "popular":
            self._take_popular(asked, answer)
        elif not await engine.compute.run(job, deadline, given_up):
            answer.degrade("funnel", "deadline")
        if answer.slate is None:
            answer.slate = engine.finish(live, request, answer)
        elif course.most == "popular":
            return
        elif answer.shortlist is not None:
            engine.ahead.shortlists.take_in(request, answer.shortlist, answer, asked.change)
        else:
            engine.ahead.shortlists.keep(live, request, answer, asked.change)

    def _take_popular(self, asked: _Asked, answer: Answer) -> None:
        """Lets `answer` have the popular slate that is ready, where it is this user's; else it has none yet."""
        engine, live, request = self._engine, asked.live, asked.request
        if len(request.exclude_rows) or asked.body.explain:
            return
        slate = self._popular.of(live, request, engine.clock.now_ms())
        if slate is not None and slate.suits(engine.seen_keys(request, answer)):
            asked.prepared, answer.slate = slate.prepared, slate.prepared.slate

    def _response(self, asked: _Asked, answer: Answer) -> RecommendResponse:
        engine, live, slate = self._engine, asked.live, answer.slate
        assert slate is not None
        timing = {**answer.timing_ms, "total": engine.clock.monotonic_ms() - asked.begin_ms}
        self._watched.answered(asked.request_id, asked.request, live, answer, slate.tier, timing, asked.headers)
        prepared = asked.prepared
        items = items_of(slate, live, asked.body.explain) if prepared is None else None
        if asked.body.consent and engine.served.keeps(asked.request_id):
            item_ids = [item.item_id for item in items] if items is not None else cast(Prepared, prepared).item_ids
            engine.keep_slate(live, asked.request, answer, slate, asked.request_id, item_ids)
        return RecommendResponse(
            request_id=asked.request_id,
            items=cast(list[SlateItem], items if prepared is None else prepared.items),
            tier=slate.tier,
            route=answer.route,
            route_why=answer.why,
            exit=answer.exit if slate.tier == "full" else "",
            degraded=[DegradedStage(each.stage, each.why) for each in answer.degraded],
            release=live.release_id,
            state_version=answer.state_version,
            timing_ms={stage: round(ms, 3) for stage, ms in timing.items()},
        )


def _flight_key(asked: _Asked) -> tuple[str, str | None, Change, str, tuple[str, ...], str]:
    request = asked.request
    return asked.live.release_id, request.subject, asked.change, request.region, request.genres, request.mode


_CIRCUMSTANCES = ("device", "region", "referrer")


def check_request(body: RecommendRequest, settings: Settings) -> None:
    """Raises `RequestError` for what no slate can be made of."""
    check_budget(body.budget_ms, settings)
    if body.k > settings.serve.max_k:
        raise RequestError(f"k is at most {settings.serve.max_k}; ask for less", path="$.k")


def slate_request(body: RecommendRequest, live: Live, quality: float) -> SlateRequest:
    """What a body asks of a release, in its rows."""
    catalog = live.funnel.catalog
    excluded = catalog.rows_of(keys_of(body.exclude)) if body.exclude else _NO_ROWS
    region, genres, allowed = "", known_names(body.filters.genres, catalog.genres), None
    if body.context.region is not None:
        region = region_of(body.context.region, catalog)
    if genres or region:
        allowed = catalog.allowed(genres=body.filters.genres, region=body.context.region)
    told = {name: getattr(body.context, name) for name in _CIRCUMSTANCES}
    return SlateRequest(
        subject=subject_of(body.user_id, body.session_id) if body.consent else None,
        k=body.k,
        surface=body.surface,
        mode=body.context.mode,
        exclude_rows=excluded[excluded >= 0],
        allowed=allowed,
        region=region,
        genres=genres,
        quality=quality,
        context=live.funnel.crowd.contexts.context_of(told),
    )
