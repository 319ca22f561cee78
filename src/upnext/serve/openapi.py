"""The OpenAPI document, made from the very records that decode and encode; nothing in it is written twice."""

from typing import Any

import msgspec

from upnext import __version__
from upnext.domain.event import ACTIONS
from upnext.funnel.explained import Explained
from upnext.ingest.dead_letters_record import LetterView
from upnext.ingest.replay import ReplayReport
from upnext.serve import messages
from upnext.serve.explain import UserExplained
from upnext.serve.figures import FiguresResponse
from upnext.serve.release_desk import ReleaseActivated, ReleasesResponse

RECORDS: tuple[type[msgspec.Struct], ...] = (
    messages.RecommendRequest,
    messages.RecommendResponse,
    messages.RankRequest,
    messages.RankResponse,
    messages.ItemsResponse,
    messages.EventsResponse,
    messages.RecordsResponse,
    messages.DeletedResponse,
    messages.UserExport,
    messages.UserErased,
    messages.DeadLettersResponse,
    LetterView,
    messages.ReplayRequest,
    ReplayReport,
    messages.SlowResponse,
    FiguresResponse,
    ReleasesResponse,
    ReleaseActivated,
    UserExplained,
    Explained,
    messages.ErrorResponse,
)
_SCHEMA = "#/components/schemas/"
_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "Something a user did. At least one of user_id and session_id; item_id where the action needs one.",
    "required": ["action"],
    "properties": {
        "action": {"enum": list(ACTIONS)},
        "event_id": {"type": "string", "description": "Events are applied once per id; made up when left out."},
        "user_id": {"type": "string"},
        "session_id": {"type": "string"},
        "item_id": {"type": "string"},
        "timestamp_ms": {"type": "integer", "description": "Milliseconds since 1970; now when left out."},
        "request_id": {"type": "string", "description": "The slate this event answers."},
        "value": {"type": "number", "description": "What the action measures: a rating, a price, seconds."},
        "query": {"type": "string", "description": "The words of a search."},
        "context": {"type": "object"},
        "consent": {"type": "boolean", "default": True, "description": "Without it nothing of the event is kept."},
        "producer": {"type": "string", "description": "Who sends it; helps to find the source of refused events."},
        "tenant": {"type": "string", "description": "That of the key; may be left out."},
        "schema_version": {"type": "integer", "default": 1},
    },
}
_STRINGS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_ITEM: dict[str, Any] = {
    "type": "object",
    "required": ["item_id"],
    "properties": {
        "item_id": {"type": "string"},
        "title": {"type": "string"},
        "genres": {**_STRINGS, "description": "The first is the primary one."},
        "text": {"type": "string", "description": "What content models read beside the title."},
        "published_ms": {"type": "integer"},
        "price": {"type": "number"},
        "regions": {**_STRINGS, "description": "Where it may be shown; empty: everywhere."},
        "available": {"type": "boolean", "default": True},
        "promoted": {"type": "boolean", "default": False},
        "blocked": {"type": "boolean", "default": False, "description": "Never leaves, at any tier."},
        "attributes": {"type": "object"},
    },
}
_USER: dict[str, Any] = {
    "type": "object",
    "required": ["user_id"],
    "properties": {"user_id": {"type": "string"}, "attributes": {"type": "object"}},
}


def openapi_document() -> dict[str, Any]:
    """OpenAPI 3.1, as plain data."""
    _, components = msgspec.json.schema_components(RECORDS, ref_template=_SCHEMA + "{name}")
    components |= {"Event": _EVENT, "Item": _ITEM, "User": _USER}
    return {
        "openapi": "3.1.0",
        "info": {"title": "upnext", "version": __version__},
        "paths": {**_slates(), **_ingestion(), **_operations()},
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _slates() -> dict[str, Any]:
    k = {"name": "k", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}}
    genre = _query("genre", {"type": "array", "items": {"type": "string"}})
    region = _query("region", {"type": "string"})
    return {
        "/v1/recommend": _post("A slate for a user", _ref("RecommendRequest"), "RecommendResponse"),
        "/v1/rank": _post("The caller's items, ranked", _ref("RankRequest"), "RankResponse"),
        "/v1/items/{item_id}/similar": _get("Items like one", [_path("item_id"), k], "ItemsResponse"),
        "/v1/popular": _get("What is chosen now", [k, genre, region], "ItemsResponse"),
    }


def _ingestion() -> dict[str, Any]:
    return {
        "/v1/events": _post("Events, one or many", _one_or_many("Event"), "EventsResponse", avro=True),
        "/v1/items": _post(
            "Items, in place of those with the same ids", _one_or_many("Item"), "RecordsResponse", avro=True
        ),
        "/v1/items/{item_id}": _delete("An item that is to be shown no more", "item_id", "DeletedResponse"),
        "/v1/users": _post("What is known of users", _one_or_many("User"), "RecordsResponse", avro=True),
    }


def _operations() -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "integer", "minimum": 0}
    page = [
        *(_query(name, number) for name in ("after", "limit")),
        *(_query(name, text) for name in ("reason", "producer", "kind")),
    ]
    return {
        "/v1/users/{user_id}": {
            **_get("All that is known of a user", [_path("user_id")], "UserExport"),
            **_delete("Forget a user everywhere", "user_id", "UserErased"),
        },
        "/v1/deadletters": _get("What was refused", page, "DeadLettersResponse"),
        "/v1/deadletters/{number}": _get("One refused part", [_path("number")], "LetterView"),
        "/v1/deadletters/replay": _post("Refused parts once more", _ref("ReplayRequest"), "ReplayReport"),
        "/v1/ops/slow": _get("The slowest requests of the last hour", [_query("n", number)], "SlowResponse"),
        "/v1/ops/figures": _get("All figures of the last seconds", [_query("window_s", number)], "FiguresResponse"),
        "/v1/ops/stream": _stream("The same again and again", [_query("window_s", number)]),
        "/v1/ops/releases": _get("Releases and their reports", [], "ReleasesResponse"),
        "/v1/ops/releases/{release_id}/activate": _act("Make a release active", ["release_id"], "ReleaseActivated"),
        "/v1/ops/releases/rollback": _act("Make the release before active", [], "ReleaseActivated"),
        "/v1/ops/users/{user_id}": _get("What is made of a user", [_path("user_id")], "UserExplained"),
        "/v1/ops/explain": _post("A request, stage by stage", _ref("RecommendRequest"), "Explained"),
        "/healthz": _get("Alive", []),
        "/readyz": _get("Ready: 200 once a release is warm, 503 before", []),
        "/metrics": _get("Prometheus metrics", []),
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _SCHEMA + name}


def _one_or_many(name: str) -> dict[str, Any]:
    return {"oneOf": [_ref(name), {"type": "array", "items": _ref(name)}]}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _delete(summary: str, parameter: str, record: str) -> dict[str, Any]:
    return {"delete": {"summary": summary, "parameters": [_path(parameter)], "responses": _responses(record)}}


def _get(summary: str, parameters: list[dict[str, Any]], record: str | None = None) -> dict[str, Any]:
    return {"get": {"summary": summary, "parameters": parameters, "responses": _responses(record)}}


def _act(summary: str, in_path: list[str], record: str) -> dict[str, Any]:
    """A POST without a body."""
    parameters = [_path(name) for name in in_path]
    return {"post": {"summary": summary, "parameters": parameters, "responses": _responses(record)}}


def _stream(summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """Server-sent events."""
    content = {"text/event-stream": {"schema": {"type": "string"}}}
    responses = {"200": {"description": "OK", "content": content}}
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def _post(summary: str, body: dict[str, Any], record: str, *, avro: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": body}}
    if avro:
        content["avro/binary"] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": _responses(record),
        }
    }


def _responses(record: str | None) -> dict[str, Any]:
    if record is None:
        return {"200": {"description": "OK"}}

    def described(text: str, name: str) -> dict[str, Any]:
        return {"description": text, "content": {"application/json": {"schema": {"$ref": _SCHEMA + name}}}}

    return {"200": described("OK", record), "default": described("Any failure", "ErrorResponse")}
