"""The OpenAPI document, made from the very records that decode and encode; nothing in it is written twice."""

from typing import Any

import msgspec

from upnext import __version__
from upnext.domain.event import ACTIONS
from upnext.serve import messages

_RECORDS = (
    messages.RecommendRequest,
    messages.RecommendResponse,
    messages.RankRequest,
    messages.RankResponse,
    messages.ItemsResponse,
    messages.EventsResponse,
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
        "consent": {"type": "boolean", "default": True},
    },
}


def openapi_document() -> dict[str, Any]:
    """OpenAPI 3.1, as plain data."""
    _, components = msgspec.json.schema_components(_RECORDS, ref_template=_SCHEMA + "{name}")
    components["Event"] = _EVENT
    k = {"name": "k", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}}
    item_id = {"name": "item_id", "in": "path", "required": True, "schema": {"type": "string"}}
    genre = {"name": "genre", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}}
    region = {"name": "region", "in": "query", "schema": {"type": "string"}}
    one = {"$ref": _SCHEMA + "Event"}
    events = {"oneOf": [one, {"type": "array", "items": one}]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "upnext", "version": __version__},
        "paths": {
            "/v1/recommend": _post("A slate for a user", {"$ref": _SCHEMA + "RecommendRequest"}, "RecommendResponse"),
            "/v1/events": _post("Events, one or many", events, "EventsResponse"),
            "/v1/rank": _post("The caller's items, ranked", {"$ref": _SCHEMA + "RankRequest"}, "RankResponse"),
            "/v1/items/{item_id}/similar": _get("Items like one", [item_id, k], "ItemsResponse"),
            "/v1/popular": _get("What is chosen now", [k, genre, region], "ItemsResponse"),
            "/healthz": _get("Alive", []),
            "/readyz": _get("Ready: 200 once a release is warm, 503 before", []),
            "/metrics": _get("Prometheus metrics", []),
        },
        "components": {"schemas": components},
    }


def _get(summary: str, parameters: list[dict[str, Any]], record: str | None = None) -> dict[str, Any]:
    return {"get": {"summary": summary, "parameters": parameters, "responses": _responses(record)}}


def _post(summary: str, body: dict[str, Any], record: str) -> dict[str, Any]:
    content = {"application/json": {"schema": body}}
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
