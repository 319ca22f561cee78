"""What goes over the wire, as typed records: decoded and validated in one pass, described by the OpenAPI document."""

from typing import Annotated, Any

import msgspec

from upnext.errors import RequestError
from upnext.ingest.dead_letters_record import Kind, LetterView
from upnext.metrics.diary import SlowRequest

Identity = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Milliseconds = Annotated[float, msgspec.Meta(gt=0)]


class Context(msgspec.Struct, kw_only=True):
    """Circumstances of a request. Other fields are taken and ignored.

    Device, region and referrer say which part of the crowd to look at; without them those of the user's last event do.
    """

    device: str = ""
    referrer: str = ""
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
    consent: bool = True  # without it the slate is one for nobody in particular


class RankRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Asks for the caller's own items in the order the ranker puts them."""

    items: Annotated[list[Identity], msgspec.Meta(min_length=1, max_length=1000)]
    user_id: Identity | None = None
    session_id: Identity | None = None
    consent: bool = True  # without it the user is nobody in particular
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
    route_why: str
    exit: str
    degraded: list[DegradedStage]
    release: str
    state_version: int
    timing_ms: dict[str, float]


class RankedItem(msgspec.Struct, kw_only=True):
    """One of the caller's items with its score."""

    item_id: str
    score: float


class RankResponse(msgspec.Struct, kw_only=True):
    """The caller's items, best first; those the release does not have, or that may not be shown, are listed apart."""

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


class RejectedPart(msgspec.Struct, kw_only=True):
    """An event or record that broke its contract: where it stood in the request, which rule, which field."""

    index: int
    reason: str
    path: str
    message: str


class EventsResponse(msgspec.Struct, kw_only=True):
    """Accepted events are durable, duplicates were there already, withheld ones came without consent and are gone.

    `applied`: the users' next slates know of them. False while the store of states is out of reach; they follow later.
    """

    accepted: int
    duplicates: int
    withheld: int
    rejected: list[RejectedPart]
    applied: bool


class RecordsResponse(msgspec.Struct, kw_only=True):
    """Accepted items or users are durable; every request from the next one on knows them."""

    accepted: int
    rejected: list[RejectedPart]


class DeletedResponse(msgspec.Struct, kw_only=True):
    """What was deleted; `known` tells whether it had been there."""

    item_id: str
    known: bool


class KnownState(msgspec.Struct, kw_only=True):
    """The state of one subject: what was chosen of late, newest last, and how much was seen."""

    subject: str
    state_version: int
    n_interactions: int
    last_ms: int
    recent_items: list[str | None]  # None for an item that the release does not have
    seen_items: list[str | None]
    vectors: dict[str, dict[str, list[float]]]  # by the name of the encoders


class UserExport(msgspec.Struct, kw_only=True):
    """All that is known of one user."""

    user_id: str
    record: dict[str, Any] | None
    states: list[KnownState]
    events: list[dict[str, Any]]
    slates: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    shortlists: list[dict[str, Any]]


class UserErased(msgspec.Struct, kw_only=True):
    """How much was erased of one user: `slates` counts slates and what became of them."""

    user_id: str
    record: bool
    events: int
    states: int
    slates: int
    dead_letters: int
    message: str


class DeadLettersResponse(msgspec.Struct, kw_only=True):
    """A page of dead letters, oldest first; go on with `after` = the last number. And what became of all."""

    letters: list[LetterView]
    waiting: int
    waiting_bytes: int
    dropped_by_size: int
    dropped_by_age: int
    replayed: int
    by_reason: dict[str, int]


class ReplayRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters go through the gate again; at least one way to choose must be given."""

    numbers: list[int] = []
    reason: str | None = None
    producer: str | None = None
    kind: Kind | None = None
    after_upgrade: bool = False
    all: bool = False


class SlowResponse(msgspec.Struct, kw_only=True):
    """The slowest requests first. Other workers' are at most a second old."""

    requests: list[SlowRequest]


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
