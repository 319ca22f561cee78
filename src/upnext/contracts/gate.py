"""The one door: bytes of a producer become accepted records and refused parts. Pure: no clock, no storage, no logs.

Whatever the bytes and the content type, nothing is raised: each record is accepted, refused with its reason and its
bytes as they were sent, or withheld, which is what becomes of an event whose user does not consent to its being kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from upnext.contracts.avro_body import read_message
from upnext.contracts.encodings import AVRO, encoding_of
from upnext.contracts.event import EVENTS_IN_JSON, event_acceptor
from upnext.contracts.facts import facts_of
from upnext.contracts.families import FAMILY_OF_ACTION, ITEM, REGISTRY, USER, EventOnWire, ItemOnWire, UserOnWire
from upnext.contracts.item import ITEMS_IN_JSON, item_acceptor
from upnext.contracts.json_body import Accept, Failure, JsonReader, Parts, moved
from upnext.contracts.registry import Schema
from upnext.contracts.user import USERS_IN_JSON, user_acceptor
from upnext.domain.event import Event, Item, User
from upnext.errors import ContractError

Record = TypeVar("Record")

# Counted up by hand when the rules change otherwise than in the schemas: what was refused before may pass then.
_RULES = 1
GATE_VERSION = f"{_RULES}-{REGISTRY.digest}"


class Refused(NamedTuple):
    """What was not taken. `raw` is what the producer sent for it, unchanged: one element of a JSON array, one Avro
    message, or all that could not be taken apart; empty where it says that its user does not consent.

    `schema` (`interaction/1`) and `producer` are as far as they can be read, else empty.
    """

    index: int  # type: ignore[assignment]  # its place in the body, which is what everybody calls it
    raw: bytes
    error: ContractError
    schema: str
    producer: str


class Admitted(NamedTuple, Generic[Record]):
    """What became of a body: accepted records in their order, refused parts, and how many events were withheld."""

    records: list[Record]
    refused: list[Refused]
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class _Kind(Generic[Record]):
    """How one kind of record comes in."""

    name: str
    families: frozenset[str]
    json: JsonReader
    wire: type[Any]


_EVENTS: _Kind[Event] = _Kind("event", frozenset(FAMILY_OF_ACTION.values()), EVENTS_IN_JSON, EventOnWire)
_ITEMS: _Kind[Item] = _Kind("item", frozenset({ITEM}), ITEMS_IN_JSON, ItemOnWire)
_USERS: _Kind[User] = _Kind("user", frozenset({USER}), USERS_IN_JSON, UserOnWire)


def admit_events(
    body: bytes, content_type: str, *, now_ms: int, tenant: str = "default", event_id: Callable[[], str] | None = None
) -> Admitted[Event]:
    """The events of a body: JSON (an object, an array, `{"events": [...]}`) or Avro single-object messages.

    An event without a time happened at `now_ms`; one without an id gets `event_id()`, by default a random one; one
    without a tenant is `tenant`'s, and one that names another is refused. Events with `consent` false are checked and
    withheld: counted, and nowhere else. Never raises.
    """
    parts = _read(_EVENTS, body, content_type, event_acceptor(now_ms, tenant, event_id))
    kept = [event for event in parts.records if event.consent]
    return Admitted(kept, _refused(_EVENTS, parts.failures), len(parts.records) - len(kept))


def admit_items(body: bytes, content_type: str, *, tenant: str = "default") -> Admitted[Item]:
    """The items of a body, as `admit_events` reads events; the list in an object is called `items`. Never raises."""
    parts = _read(_ITEMS, body, content_type, item_acceptor(tenant))
    return Admitted(parts.records, _refused(_ITEMS, parts.failures))


def admit_users(body: bytes, content_type: str, *, tenant: str = "default") -> Admitted[User]:
    """What is known of users, as `admit_events` reads events; the list in an object is called `users`. Never raises."""
    parts = _read(_USERS, body, content_type, user_acceptor(tenant))
    return Admitted(parts.records, _refused(_USERS, parts.failures))


def _read(kind: _Kind[Record], body: bytes, content_type: str, accept: Accept[Record]) -> Parts[Record]:
    try:
        encoding = encoding_of(body, content_type)
    except ContractError as error:
        return Parts([], [Failure(0, body, error)])
    return _read_avro(kind, body, accept) if encoding == AVRO else kind.json.read(body, accept)


def _read_avro(kind: _Kind[Record], body: bytes, accept: Accept[Record]) -> Parts[Record]:
    """Messages one after the other. What follows a message that cannot be read has no beginning: it is one failure."""
    parts: Parts[Record] = Parts([], [])
    at = index = 0
    while at < len(body):
        start, path = at, f"$[{index}]"
        try:
            schema, record, at = read_message(body, at, REGISTRY)
        except ContractError as error:
            parts.failures.append(Failure(index, body[start:], moved(error, path if index else "$")))
            break
        try:
            parts.records.append(_accept_message(kind, schema, record, accept))
        except ContractError as error:
            alone = index == 0 and at == len(body)
            parts.failures.append(Failure(index, body[start:at], moved(error, "$" if alone else path)))
        index += 1
    return parts


def _accept_message(kind: _Kind[Record], schema: Schema, record: dict[str, Any], accept: Accept[Record]) -> Record:
    if schema.family not in kind.families:
        message = f"$ is a message of {schema.name}, not an {kind.name}; send it where {schema.family}s are taken"
        raise ContractError("wrong_schema", message)
    if not 1 <= record["schema_version"] <= schema.version:
        message = f"$.schema_version is {record['schema_version']} in a message of {schema.name}; send {schema.version}"
        raise ContractError("wrong_schema", message, "$.schema_version")
    record["schema_version"] = schema.version  # the fingerprint knows it better than a default that was not set
    accepted = accept(kind.wire(**record))
    if schema.actions and (family := FAMILY_OF_ACTION[record["action"]]) != schema.family:
        message = f"$.action {record['action']} is not of {schema.name}; write it by {family}"
        raise ContractError("wrong_schema", message, "$.action")
    return accepted


def _refused(kind: _Kind[Any], failures: list[Failure]) -> list[Refused]:
    made = []
    for place, raw, error in failures:
        facts = facts_of(raw, kind.name)
        made.append(Refused(place, raw if facts.consents else b"", error, facts.schema, facts.producer))
    return made
