"""The contract of an event: what was on the wire or a ready `Event` in, an accepted one or a rejection out."""

import math
import uuid
from collections.abc import Callable
from typing import Any

from upnext.contracts.families import FAMILY_OF_ACTION, EventOnWire, check_version
from upnext.contracts.fields import check_id, check_length, check_map, check_moment, check_tenant, wrong_tenant
from upnext.contracts.json_body import Accept, JsonReader
from upnext.domain.event import ACTION_CODE, ACTIONS, NEEDS_ITEM, Event
from upnext.errors import ContractError

MAX_QUERY_CHARS = 1_024

EVENTS_IN_JSON = JsonReader(EventOnWire, "events", "context")


def decode_event(raw: bytes, *, now_ms: int, event_id: Callable[[], str] | None = None) -> Event:
    """The event in `raw`, one JSON object in UTF-8, of any tenant.

    A missing `timestamp_ms` is `now_ms`; a missing `event_id` is made by `event_id()`, by default a random UUID in
    hexadecimal. Raises `ContractError` with a reason and a path, and nothing else, whatever the bytes.
    """
    return EVENTS_IN_JSON.one(raw, event_acceptor(now_ms, None, event_id))


def decode_events(raw: bytes, *, now_ms: int, event_id: Callable[[], str] | None = None) -> list[Event | ContractError]:
    """The events of a body: one object, an array of objects, or `{"events": [...]}`; see `decode_event`.

    One entry per event in their order; a `ContractError` (`$[3].item_id`) stands for each that was refused, and one
    alone for a body that cannot be read. Never raises.
    """
    return EVENTS_IN_JSON.read(raw, event_acceptor(now_ms, None, event_id)).in_order()


def check_event(event: Event, *, now_ms: int) -> None:
    """Raises `ContractError` unless the event keeps the contract, however it came in.

    Known action; a user or a session; an item where the action needs one; ids of 1 to 256 bytes; a finite value; a
    date in milliseconds that is at most five minutes ahead of `now_ms`; a small context; a possible tenant.
    """
    if event.action not in ACTION_CODE:
        message = f"$.action {event.action[:64]!r} is unknown; use one of {', '.join(ACTIONS)}"
        raise ContractError("unknown_action", message, "$.action")
    if event.user_id is None and event.session_id is None:
        raise ContractError("missing_subject", "neither user_id nor session_id is given; send at least one", "$")
    if event.item_id is not None:
        check_id(event.item_id, "$.item_id")
    elif event.action in NEEDS_ITEM:
        raise ContractError("missing_item", f"$.item_id is missing, which {event.action} needs; send it", "$.item_id")
    check_moment(event.timestamp_ms, now_ms, "$.timestamp_ms")
    check_id(event.event_id, "$.event_id")
    if event.user_id is not None:
        check_id(event.user_id, "$.user_id")
    if event.session_id is not None:
        check_id(event.session_id, "$.session_id")
    if event.value is not None and not math.isfinite(event.value):
        raise ContractError("value_not_finite", f"$.value is {event.value}; send a number or leave it out", "$.value")
    if event.context:
        check_map(event.context, "$.context")
    if event.tenant != "default":
        check_tenant(event.tenant, "$.tenant")
    if event.request_id is not None:
        check_id(event.request_id, "$.request_id")
    if event.query is not None:
        check_length(event.query, MAX_QUERY_CHARS, "$.query")
    if event.producer:
        check_id(event.producer, "$.producer")
    if event.schema_version != 1:
        check_version(FAMILY_OF_ACTION[event.action], event.schema_version)


def event_acceptor(now_ms: int, tenant: str | None, event_id: Callable[[], str] | None) -> Accept[Event]:
    """Makes an `Event` of an `EventOnWire`, or raises `ContractError`.

    An event that names no tenant gets `tenant`, and one that names another is refused; None takes any, and `default`
    for one that names none.
    """
    new_id = event_id or _random_id
    usual = tenant or "default"

    def accept(wire: Any) -> Event:
        if wire.action is None:
            raise ContractError("missing_action", "$.action is missing; say what happened", "$.action")
        event = Event(
            event_id=new_id() if wire.event_id is None else wire.event_id,
            action=wire.action,
            timestamp_ms=now_ms if wire.timestamp_ms is None else wire.timestamp_ms,
            user_id=wire.user_id,
            session_id=wire.session_id,
            item_id=wire.item_id,
            request_id=wire.request_id,
            value=wire.value,
            query=wire.query,
            context=wire.context or {},
            tenant=usual if wire.tenant is None else wire.tenant,
            consent=wire.consent,
            producer=wire.producer,
            schema_version=wire.schema_version,
        )
        check_event(event, now_ms=now_ms)
        if event.tenant != tenant and tenant is not None:
            raise wrong_tenant(event.tenant, tenant)
        return event

    return accept


def _random_id() -> str:
    return uuid.uuid4().hex
