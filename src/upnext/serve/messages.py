"""What goes over the wire, as typed records: decoded and validated in one pass, described by the OpenAPI document."""

from typing import Annotated, Any

import msgspec

from upnext.errors import RequestError

Identity = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Milliseconds = Annotated[float, msgspec.Meta(gt=0)]


class Context(msgspec.Struct, kw_only=True):
    """Circumstances of a request. Other fields are taken and ignored."""

    device: str = ""
    region: str | None = None  # items restricted to other regions are left out
    mode: str = ""  # scroll, browse or dwell


class Filters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an item must be to be recommended."""

    genres: Annotated[list[str], msgspec.Meta(max_length=64)] = []


class RecommendRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Asks for a slate. With neither `user_id` nor `session_id` it is one for nobody in particular."""

    user_id: Identity | None = None
    session_id: Identity | None = None
    surface: Annotated[str, msgspec.Meta(max_length=64)] = ""
    k: Annotated[int, msgspec.Meta(ge=1)] = 20
    context: Context = msgspec.field(default_factory=Context)
    exclude: Annotated[list[Identity], msgspec.Meta(max_length=1000)] = []
    filters: Filters = msgspec.field(default_factory=Filters)
    budget_ms: Milliseconds | None = None
    explain: bool = False


class RankRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Asks for the caller's own items in the order the ranker puts them."""

    items: Annotated[list[Identity], msgspec.Meta(min_length=1, max_length=1000)]
    user_id: Identity | None = None
    session_id: Identity | None = None
    budget_ms: Milliseconds | None = None


class SlateItem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One recommended item; the last three only when asked to explain."""

    item_id: str
    score: float
    source: str
    title: str | None = None
    genre: str | None = None
    sources: list[str] | None = None


class DegradedStage(msgspec.Struct):
    """A stage that did not contribute, and why."""

    stage: str
    why: str


class RecommendResponse(msgspec.Struct, kw_only=True):
    """A slate, and how it came about."""

    request_id: str
    items: list[SlateItem]
    tier: str
    route: str
    degraded: list[DegradedStage]
    release: str
    state_version: int
    timing_ms: dict[str, float]


class RankedItem(msgspec.Struct, kw_only=True):
    """One of the caller's items with its score."""

    item_id: str
    score: float


class RankResponse(msgspec.Struct, kw_only=True):
    """The caller's items, best first; those the release does not have are listed apart."""

    request_id: str
    items: list[RankedItem]
    unknown: list[str]
    tier: str
    release: str
    timing_ms: dict[str, float]


class ItemsResponse(msgspec.Struct, kw_only=True):
    """Items in order."""

    items: list[SlateItem]
    release: str


class RejectedEvent(msgspec.Struct, kw_only=True):
    """An event that broke the contract: where it stood in the request, which rule, which field."""

    index: int
    reason: str
    path: str
    message: str


class EventsResponse(msgspec.Struct, kw_only=True):
    """Accepted events are durable and applied; duplicates were there already."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]


class ErrorBody(msgspec.Struct, kw_only=True):
    """What every failure says."""

    code: str
    message: str
    path: str
    request_id: str


class ErrorResponse(msgspec.Struct, kw_only=True):
    """The one shape of every failure."""

    error: ErrorBody


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """The record in `body`. Raises `RequestError` with the field's path."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        raise RequestError(f"{message}; see /openapi.json", path=path.rstrip("`") or "$") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not valid JSON: {error}", code="not_json") from error
