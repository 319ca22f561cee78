"""POST /v1/events: through the gate, into the log, applied; the reply leaves after all of that."""

from starlette.types import Receive, Scope

from upnext.contracts.event import decode_events
from upnext.domain.event import Event
from upnext.errors import ContractError, RequestError
from upnext.metrics.recorder import Metrics
from upnext.serve.engine import Engine
from upnext.serve.http import read_body
from upnext.serve.messages import EventsResponse, RejectedEvent
from upnext.serve.writer import Written


class Events:
    """Takes events."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    async def post(self, scope: Scope, receive: Receive) -> EventsResponse:
        """Those that keep the contract are taken, the others named. Raises `RequestError` when none can be taken."""
        engine = self._engine
        body = await read_body(receive, engine.settings.serve.max_body_bytes)
        decoded = decode_events(body, now_ms=engine.clock.now_ms())
        if len(decoded) > engine.settings.serve.max_events:
            raise RequestError(
                f"{len(decoded)} events in one request, the most is {engine.settings.serve.max_events}; send several",
                status=413,
                code="too_many_events",
            )
        accepted = [each for each in decoded if isinstance(each, Event)]
        rejected = self._rejected(decoded)
        if not accepted and rejected:
            first = rejected[0]
            raise RequestError(first.message, path=first.path, status=422, code=first.reason)
        written = await engine.writer.write(accepted) if accepted else Written(0, 0)
        self._metrics.count_events(written.accepted)
        return EventsResponse(accepted=written.accepted, duplicates=written.duplicates, rejected=rejected)

    def _rejected(self, decoded: list[Event | ContractError]) -> list[RejectedEvent]:
        rejected = []
        for index, each in enumerate(decoded):
            if isinstance(each, ContractError):
                self._metrics.count_rejected(each.reason)
                rejected.append(RejectedEvent(index=index, reason=each.reason, path=each.path, message=str(each)))
        return rejected
