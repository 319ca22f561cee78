"""Letters, queues and a small gate of known behaviour for the tests of dead letters and their replay."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from upnext.clock import Clock, ManualClock
from upnext.contracts.gate import Admitted, Refused
from upnext.domain.event import Event
from upnext.errors import ContractError
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import DeadLetter
from upnext.ingest.replay import Door
from upnext.settings import DeadLetterSettings

NOW_MS = 1_700_000_000_000


def letter(raw: bytes = b"{}", **fields: Any) -> DeadLetter:
    given = {"content_type": "application/json", "reason": "wrong_type", "received_ms": NOW_MS - 1_000, "gate": "1"}
    return DeadLetter(raw=raw, **{**given, **fields})


def queue(path: Path, clock: Clock | None = None, **settings: int) -> DeadLetters:
    bounds = DeadLetterSettings(**settings)
    return DeadLetters(path, bounds, clock or ManualClock(NOW_MS), map_size_bytes=256 * 1024)


def admit(body: bytes, content_type: str, *, now_ms: int, event_id: Callable[[], str]) -> Admitted[Event]:
    """Takes JSON objects {"item", "id"?, "at"?} or lists of them.

    Refuses what lies ahead of `now_ms`, and records with {"bad": reason}; {"no": "counted"} and {"no": "refused"}
    lack consent, and are said to in one way or the other.
    """
    records: list[Event] = []
    refused: list[Refused] = []
    withheld = 0
    try:
        parts = msgspec.json.decode(body, type=list[msgspec.Raw]) if body[:1] == b"[" else [msgspec.Raw(body)]
        for index, part in enumerate(parts):
            found = _admit_one(index, bytes(part), now_ms, event_id)
            if isinstance(found, Event):
                records.append(found)
            elif isinstance(found, Refused):
                refused.append(found)
            else:
                withheld += 1
    except msgspec.DecodeError as error:
        return Admitted([], [Refused(0, body, ContractError("malformed_json", f"$ is not JSON: {error}"), "", "")])
    return Admitted(records, refused, withheld)


def _admit_one(index: int, raw: bytes, now_ms: int, event_id: Callable[[], str]) -> Event | Refused | None:
    fields = msgspec.json.decode(raw)
    at = fields.get("at", now_ms)
    made = fields["id"] if "id" in fields else event_id()
    if fields.get("no") == "counted":
        return None
    if fields.get("no") == "refused":
        return Refused(index, b"", ContractError("no_consent", "refused"), "", "")
    if at > now_ms:
        return Refused(index, raw, ContractError("timestamp_in_future", "$.at is ahead", "$.at"), "", "")
    if "bad" in fields:
        error = ContractError(fields["bad"], f"$.bad is {fields['bad']}", "$.bad")
        return Refused(index, raw, error, "event:2", "web")
    return Event(event_id=made, action="click", timestamp_ms=at, user_id="ann", item_id=fields.get("item"))


def doors(write: Callable[[Sequence[Any]], Sequence[int | None]]) -> dict[str, Door]:
    """All kinds through the small gate to one `write`."""
    return {kind: Door(admit, write) for kind in ("event", "item", "user")}
