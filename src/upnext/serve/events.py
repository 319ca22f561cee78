"""POST /v1/events: through the gate, into the log, applied; the reply leaves after all of that."""

from collections.abc import Sequence

from starlette.types import Receive, Scope

from upnext.contracts.gate import GATE_VERSION, Admitted, Refused, admit_events
from upnext.domain.event import Event
from upnext.errors import RequestError
from upnext.ingest.dead_letters_record import DeadLetter, Kind
from upnext.metrics.recorder import Metrics
from upnext.serve.engine import Engine
from upnext.serve.http import content_type_of, read_body
from upnext.serve.messages import EventsResponse, RejectedPart
from upnext.serve.writer import Written


class Events:
    """Takes events."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    async def post(self, scope: Scope, receive: Receive) -> EventsResponse:
        """Those that keep the contract are taken, the others named and kept as dead letters.

        Raises `RequestError` when there was nothing to take, `Overloaded` when there is no room.
        """
        engine, metrics = self._engine, self._metrics
        begin_ms = engine.clock.monotonic_ms()
        engine.pressure.check()
        body = await read_body(receive, engine.settings.serve.max_body_bytes)
        if not body:
            raise RequestError("the body is empty; send at least one event")
        content_type, now_ms = content_type_of(scope), engine.clock.now_ms()
        gate_ms = engine.clock.monotonic_ms()
        admitted = admit_events(body, content_type, now_ms=now_ms, tenant=engine.tenant)
        metrics.observe_stage("gate", engine.clock.monotonic_ms() - gate_ms)
        self._check_count(admitted)
        letters = letters_of(admitted.refused, "event", content_type, now_ms)
        written = Written(0, 0, True)
        if admitted.records or letters:
            written = await engine.writer.write(admitted.records, letters)
        metrics.count_ingested(written.accepted, written.duplicates, admitted.withheld)
        if written.applied:
            engine.ahead.occasions.note(admitted.records)
        else:
            metrics.count_degraded("state", "not_applied")
        metrics.observe_stage("events", engine.clock.monotonic_ms() - begin_ms)
        rejected = rejected_parts(admitted.refused, metrics)
        if rejected and not admitted.records and not admitted.withheld:
            raise RequestError(rejected[0].message, path=rejected[0].path, status=422, code=rejected[0].reason)
        return EventsResponse(
            accepted=written.accepted,
            duplicates=written.duplicates,
            withheld=admitted.withheld,
            rejected=rejected,
            applied=written.applied,
        )

    def _check_count(self, admitted: Admitted[Event]) -> None:
        count = len(admitted.records) + len(admitted.refused) + admitted.withheld
        if count > self._engine.settings.serve.max_events:
            raise RequestError(
                f"{count} events in one request, the most is {self._engine.settings.serve.max_events}; send several",
                status=413,
                code="too_many_events",
            )


def letters_of(refused: Sequence[Refused], kind: Kind, content_type: str, now_ms: int) -> list[DeadLetter]:
    """What the gate refused, as it is kept; parts whose bytes may not be kept are only counted by the queue."""
    return [
        DeadLetter(
            kind=kind,
            raw=each.raw,
            content_type=content_type,
            reason=each.error.reason,
            path=each.error.path,
            message=str(each.error),
            schema=each.schema,
            producer=each.producer,
            received_ms=now_ms,
            gate=GATE_VERSION,
        )
        for each in refused
    ]


def rejected_parts(refused: Sequence[Refused], metrics: Metrics) -> list[RejectedPart]:
    """What the gate refused, for the wire; counted."""
    parts = []
    for each in refused:
        metrics.count_rejected(each.error.reason)
        parts.append(
            RejectedPart(index=each.index, reason=each.error.reason, path=each.error.path, message=str(each.error))
        )
    return parts
