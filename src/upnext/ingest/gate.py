"""The door events come in by: bytes are decoded, checked and durably logged; knows nothing of HTTP or of state."""

from collections.abc import Callable
from dataclasses import dataclass

from upnext.clock import Clock
from upnext.contracts.event import decode_events
from upnext.domain.event import Event
from upnext.errors import ContractError
from upnext.ingest.log_interface import EventLog


@dataclass(frozen=True)
class Receipt:
    """What became of a body: each of its events is in exactly one of the three.

    `accepted` are in the log for good, with their sequence numbers; `duplicates` were there already; `rejected` say
    why, with paths into the body (`$[3].item_id`).
    """

    accepted: list[tuple[int, Event]]
    duplicates: list[Event]
    rejected: list[ContractError]


class EventGate:
    """Takes bodies of events from any number of threads."""

    def __init__(self, log: EventLog, clock: Clock, event_id: Callable[[], str] | None = None) -> None:
        """`event_id` makes ids for events that come without one; by default random UUIDs."""
        self._log = log
        self._clock = clock
        self._event_id = event_id

    def accept(self, raw: bytes) -> Receipt:
        """Logs the good events of a body (see `decode_events`) in one append; rejections keep none of them back.

        Returns when the accepted ones are durable; raises `StoreError`, with nothing logged, when the log cannot.
        """
        decoded = decode_events(raw, now_ms=self._clock.now_ms(), event_id=self._event_id)
        events = [event for event in decoded if isinstance(event, Event)]
        sequences = self._log.append(events) if events else []
        numbered = list(zip(sequences, events, strict=True))
        return Receipt(
            accepted=[(sequence, event) for sequence, event in numbered if sequence is not None],
            duplicates=[event for sequence, event in numbered if sequence is None],
            rejected=[error for error in decoded if isinstance(error, ContractError)],
        )
