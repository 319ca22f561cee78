"""Every setting with its default, unit and meaning, in one frozen table; read once, at the start.

Order of precedence, last wins: defaults, `upnext.toml` in the home folder, environment variables
(`UPNEXT_RANKING__TOP=50`), `--set ranking.top=50`. A misspelt name stops the start with a suggestion.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_type_hints

import msgspec

from upnext.errors import SettingsError

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_PREFIX = "UPNEXT_"
Table = TypeVar("Table", bound=msgspec.Struct)
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
AtLeastOne: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0)]
Share: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]
StepWeight: TypeAlias = Annotated[float, msgspec.Meta(ge=-1, le=1)]
StepAction: TypeAlias = Literal[
    "view", "click", "play", "complete", "like", "dislike", "add_to_cart", "purchase", "search", "hover"
]


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where state lives."""

    # empty: LMDB in HOME/state; redis://HOST:PORT/DB, rediss://… or redis+cluster://HOST:PORT,HOST:PORT
    url: str = ""
    timeout_ms: Positive = 20.0  # most that one round trip to a remote store may take
    prefix: str = "upnext"  # put before every key, so that a Redis may be shared


class IngestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """From a producer's bytes to the log."""

    commit_events: AtLeastOne = 5_000  # most events in one commit of the log
    queue_events: AtLeastOne = 20_000  # most events that wait for a commit; past that producers get 503
    reserve_bytes: Count = 256 * 2**20  # free disk below which producers get 503
    lag_events: AtLeastOne = 200_000  # most events by which the session consumer may be behind before producers get 503
    retry_after_s: AtLeastOne = 1  # what a producer that got 503 is told to wait
    apply_ms: Positive = 100.0  # most that an event waits for its user's state before it is acknowledged without it


class DeadLetterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Rejected bytes, kept for a second try."""

    max_bytes: AtLeastOne = 256 * 2**20  # past that the oldest are dropped
    max_age_ms: AtLeastOne = 30 * DAY_MS  # older ones are dropped


class ImpressionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Slates as served, joined to what became of them."""

    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0  # of slates that are kept with their features
    keep_ms: AtLeastOne = 7 * DAY_MS  # how long a slate is kept, and outcomes are joined to it
    max_bytes: AtLeastOne = 2 * 2**30  # on the disk; past that the oldest slates make way
    queue_slates: AtLeastOne = 2_000  # most slates that wait to be written; past that they are dropped and counted


class ItemSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Items posted since the release was made."""

    fresh_rows: Count = 4_096  # places a release keeps free for them
    # posted items past which they move into the vector indexes, all but the newest half of so many; 0: they never do,
    # and every request looks at each of them
    index_after: Count = 1_024
    follow_ms: AtLeastOne = 50  # how often a worker looks for posted and deleted items
    # where the vectors of items come from: the release, mapped; or the store, for catalogues beyond a machine's memory
    tier: Literal["release", "store"] = "release"
    l1_bytes: AtLeastOne = 256 * 2**20  # with tier = "store": rows of items in a worker's own memory
    pinned_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01  # of items, the most popular, which stay there
    neighbours: AtLeastOne = 10  # nearest items by content from which a new item borrows its other vectors


class StateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a user between requests."""

    # newest interactions kept in full; older ones live on in the vector and the seen set
    recent_events: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 50
    seen_items: AtLeastOne = 5_000  # most distinct items kept as "seen"; past that any one makes way for a new one
    # most events in one commit whose session vectors step before they are acknowledged; past that, when next read
    step_at_once: Count = 64
    # by action, how far one event moves the session vector: 1 all the way, 0 not at all, below 0 away from the item;
    # where it says nothing, hover 0.25, search 0.5, dislike -0.5, all others 1: {"hover" = 0.1}
    action_weights: dict[StepAction, StepWeight] = {}
    # a longer pause starts a new session: for what follows what, where events carry no session id; and for which of a
    # user's items what follows them, and sessions like theirs, are looked up
    session_gap_ms: Count = 30 * 60_000


class TrendSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Decayed counters, updated by every event."""

    # fast, daily and weekly popularity
    half_lives_ms: tuple[AtLeastOne, AtLeastOne, AtLeastOne] = (HOUR_MS, DAY_MS, 7 * DAY_MS)
    popular_half_life: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1  # which of them (0, 1, 2) the popular slate uses
    covisit_half_life_ms: AtLeastOne = 7 * DAY_MS
    covisit_width: AtLeastOne = 128  # successors kept per item; the least frequent makes way
    covisit_bytes: AtLeastOne = 256 * 2**20  # bound on the table of successors, per worker
    sessions_per_item: AtLeastOne = 100  # newest sessions that an item was in, kept for the source `session_knn`
    sessions_bytes: AtLeastOne = 64 * 2**20  # bound on the table of newest sessions, per worker
    # keys of an event's context by whose values the crowd is counted apart, for the source `context`
    contexts: Annotated[tuple[str, ...], msgspec.Meta(max_length=4)] = ("device", "region", "referrer")
    context_values: AtLeastOne = 64  # most values told apart of each of them, those met first
    context_items: AtLeastOne = 4_096  # items counted so, those chosen lately
    context_half_life_ms: AtLeastOne = HOUR_MS
    follow_ms: AtLeastOne = 50  # how often a worker reads the log for events taken by others
    snapshot_ms: AtLeastOne = 15 * 60_000  # how often the counts are kept, for workers that start to go on from


class RetrievalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Candidate generation: how many, from where."""

    candidates: AtLeastOne = 500  # handed to ranking
    user_vector: Count = 700  # fetched per source; 0 switches a source off
    session_vector: Count = 700
    covisit: Count = 200
    content: Count = 100
    popular: Count = 100
    trending: Count = 100
    fresh: Count = 50  # items posted since the release was made
    session_knn: Count = 100  # what the newest sessions with the user's latest items held too
    context: Count = 100  # what the crowd chooses now under the same circumstances: see `trends.contexts`
    neighbours: Count = 100  # items like the user's latest, from lists learnt in training
    # of the release, where it has some; "settings": those below, which are also what learning begins with
    weights: Literal["learnt", "settings"] = "learnt"
    user_vector_weight: Weight = 1.0  # weight of the source in the merge by reciprocal ranks
    session_vector_weight: Weight = 1.0
    covisit_weight: Weight = 0.3
    content_weight: Weight = 0.3
    popular_weight: Weight = 0.3
    trending_weight: Weight = 0.3
    fresh_weight: Weight = 0.3
    session_knn_weight: Weight = 0.3
    neighbours_weight: Weight = 0.3
    context_weight: Weight = 0.3
    shadow_interactions: Count = 5  # the content source runs until a user has so many interactions
    recall_target: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.95  # of the vector index against exact search


class RankingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The heavy model."""

    top: AtLeastOne = 100  # handed to re-ranking
    chunk: AtLeastOne = 1_024  # most candidates in one matrix product
    exit: str = ""  # exit of the ranker to use for all; empty: by the mode and the time of the request


class RerankingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Deterministic rules over the ranked list."""

    drop_seen: bool = True  # never show again what the user has chosen before
    genre_gap: Count = 1  # at least so many others between two items of one genre; 0 switches the rule off
    genre_lookahead: Count = 10  # how far down the rule may look for another genre before it gives way
    fresh_ms: Count = DAY_MS  # an item published less than this ago is fresh
    fresh_places: Count = 3  # a fresh item moves up by so many places
    promoted_places: Count = 5  # a promoted item moves up by so many places
    blocked: tuple[str, ...] = ()  # item ids that never leave, at any tier
    pinned: tuple[str, ...] = ()  # item ids put first, in this order


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The promises, in milliseconds."""

    full_ms: Positive = 50.0  # of a request that asks for nothing else
    fast_ms: Positive = 15.0  # of one that is only let into the fast tier
    popular_ms: Positive = 5.0  # of one for which there is no room in the fast tier either
    surfaces: dict[str, Positive] = {}  # by surface, of a request that asks for nothing else: {"home" = 40.0}
    hard_stop_ms: Positive = 150.0  # a model at work for longer is given up, and its thread replaced
    # threads lost to models that hang at which the worker is replaced; more than it takes a breaker to open
    most_lost: AtLeastOne = 16
    contract_ms: Positive = 200.0  # no request may ask for more


class PressureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How far requests go when things are slow, fail, or are too many."""

    breaker_calls: AtLeastOne = 20  # newest calls that a circuit breaker judges by; a call that hangs is one of them
    breaker_window_ms: Positive = 10_000.0  # older calls are forgotten
    breaker_least_calls: AtLeastOne = 5  # with fewer it stays closed
    breaker_failed_share: Share = 0.5  # of those calls; from there on it opens
    breaker_slow_share: Share = 0.5  # of those calls, that were slow; from there on it opens
    breaker_slow_ms: Positive = 50.0  # a call that took longer was slow
    breaker_open_ms: Positive = 1_000.0  # how long it stays open before it tries again
    breaker_probes: AtLeastOne = 3  # good calls, one after the other, that close it again
    stage_half_life_calls: AtLeastOne = 500  # after so many calls of a stage, an observed cost weighs half
    quality_step: Share = 0.001  # by which the quality factor rises with a request in time; 99 × that is lost when late
    quality_percentile: Annotated[float, msgspec.Meta(ge=1, le=99.99)] = 99.0  # of requests that shall be in time
    quality_least: Share = 0.1  # the quality factor falls no lower
    guard_p99_ms: Positive = 80.0  # a region whose p99 is above takes the fast path
    guard_window_ms: Positive = 10_000.0  # over which that p99 is taken
    guard_least_requests: AtLeastOne = 200  # with fewer in the window the guard keeps still
    guard_on_ms: Positive = 60_000.0  # how long the region takes the fast path
    guard_quiet_ms: Annotated[float, msgspec.Meta(ge=0)] = 60_000.0  # after the start, in which a worker raises none
    regions: AtLeastOne = 256  # with a quality factor and guard of their own, per worker; all others share one
    admission_wait_ms: Positive = 10.0  # wait for the compute thread that is aimed at: a fifth of the full budget
    admission_start: AtLeastOne = 8  # full requests at once in a worker, before anything is learnt
    admission_most: AtLeastOne = 256  # the limit rises no higher


class AheadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Work done before it is asked for, and kept: shortlists."""

    reuse: bool = True  # whether a full slate's candidates answer the same user again while they have chosen nothing
    live_age_ms: Count = 60_000  # how long what a request worked out answers again; what the crowd does meanwhile waits
    precomputed_age_ms: AtLeastOne = DAY_MS  # how long what `upnext precompute` worked out does
    l1_bytes: Count = 64 * 2**20  # shortlists in a worker's own memory; 0 keeps none
    # of that memory for shortlists of the head's most active users, which others do not push out
    l1_pinned_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.25
    below: AtLeastOne = 100  # candidates below the ranked ones that a shortlist keeps to top up from
    queue: AtLeastOne = 2_000  # most shortlists that wait to be stored for other workers; past that they are dropped
    head_share: Share = 0.2  # of active users, by their events, for whom `upnext precompute` works
    pinned_share: Share = 0.01  # … of active users that are kept at hand
    active_ms: AtLeastOne = 28 * DAY_MS  # events as old as that count
    occasions: AtLeastOne = 256  # most users for whom work waits that a pause or an app_open called for
    occasion_age_ms: AtLeastOne = 2_000  # what waited longer is dropped


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8080
    workers: AtLeastOne = 1
    # connections without a request for so long are closed; more than a load balancer keeps them, commonly 60 s
    keep_alive_s: AtLeastOne = 75
    max_body_bytes: AtLeastOne = 1_048_576
    max_events: AtLeastOne = 1_000  # in one POST /v1/events
    max_k: AtLeastOne = 100
    release_poll_ms: AtLeastOne = 500  # how often a worker looks whether another release was activated
    # the storefront at /demo: "auto" serves it only where there is no API key, so only this machine can ask
    demo: Literal["auto", "on", "off"] = "auto"


class ObserveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of requests."""

    slates: bool = True  # whether slates are counted, timed, and looked at for the slowest; off: to see what it costs
    logs: Literal["text", "json"] = "text"  # how log lines look
    # of slates that leave a line each in the log, with their times
    access_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    traces: bool = False  # OpenTelemetry spans, sent where OTEL_EXPORTER_OTLP_ENDPOINT says; needs upnext[otel]
    traces_share: Share = 0.01  # of requests without a `traceparent` of their own that begin a trace


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, by the part that reads them."""

    store: StoreSettings = StoreSettings()
    ingest: IngestSettings = IngestSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    impressions: ImpressionSettings = ImpressionSettings()
    items: ItemSettings = ItemSettings()
    state: StateSettings = StateSettings()
    trends: TrendSettings = TrendSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    ranking: RankingSettings = RankingSettings()
    reranking: RerankingSettings = RerankingSettings()
    budget: BudgetSettings = BudgetSettings()
    pressure: PressureSettings = PressureSettings()
    ahead: AheadSettings = AheadSettings()
    serve: ServeSettings = ServeSettings()
    observe: ObserveSettings = ObserveSettings()


def load_settings(
    home: Path | None = None, environment: Mapping[str, str] | None = None, overrides: Iterable[str] = ()
) -> Settings:
    """The settings in force. Raises `SettingsError`: which setting, what is wrong, the nearest known name."""
    return load_table(Settings, home / "upnext.toml" if home else None, environment, overrides)


def load_table(
    table: type[Table], path: Path | None, environment: Mapping[str, str] | None = None, overrides: Iterable[str] = ()
) -> Table:
    """A table of groups of settings, from a TOML file where there is one, environment, and `group.name=value`.

    Raises `SettingsError` for an unknown group or name, and for a value of the wrong type or out of range.
    """
    raw: dict[str, Any] = {}
    if path and path.is_file():
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise SettingsError(f"{path} cannot be read as TOML ({error}); mend it or remove it") from error
    for name, text in (environment or {}).items():
        if name.startswith(_PREFIX) and "__" in name:
            group, key = name[len(_PREFIX) :].lower().split("__", 1)
            _put(raw, group, key, _parsed(text))
    for override in overrides:
        name, separator, text = override.partition("=")
        group, dot, key = name.partition(".")
        if not separator or not dot:
            raise SettingsError(f"--set {override!r} is not of the form group.name=value, as in ranking.top=50")
        _put(raw, group, key, _parsed(text))
    _check_names(raw, get_type_hints(table))
    try:
        return msgspec.convert(raw, table, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"a setting has a wrong value: {error}") from error


def settings_table(settings: Settings) -> list[tuple[str, Any]]:
    """All settings as (`group.name`, value), in order."""
    return [
        (f"{group}.{name}", getattr(getattr(settings, group), name))
        for group in settings.__struct_fields__
        for name in getattr(settings, group).__struct_fields__
    ]


def _put(raw: dict[str, Any], group: str, key: str, value: Any) -> None:
    values = raw.setdefault(group, {})
    if isinstance(values, dict):  # else the check of names says so
        values[key] = value


def _parsed(text: str) -> Any:
    """TOML value where the text is one, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_names(raw: Mapping[str, Any], groups: Mapping[str, Any]) -> None:
    for group, values in raw.items():
        if group not in groups:
            raise SettingsError(f"there are no settings {group!r}; {_suggestion(group, groups)}")
        if not isinstance(values, dict):
            raise SettingsError(f"settings {group!r} must be a table of names and values, not {values!r}")
        for name in values:
            known = groups[group].__struct_fields__
            if name not in known:
                raise SettingsError(f"there is no setting {group}.{name}; {_suggestion(name, known)}")


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
