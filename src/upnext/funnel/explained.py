"""One request, one user, as those who operate read of them: records with item ids and titles, no rows."""

from collections.abc import Iterable, Sequence

import msgspec

from upnext.catalog.catalog import Catalog


class NamedItem(msgspec.Struct, kw_only=True):
    """An item; `score` where a list of them has an order."""

    item_id: str
    title: str
    genre: str | None
    score: float | None = None


class SourceTrace(msgspec.Struct, kw_only=True):
    """What one source of candidates had: how many, and the first of them, best first."""

    source: str
    weight: float  # in the merge
    n: int
    first: list[str]


class StageTrace(msgspec.Struct, kw_only=True):
    """One stage: how long it took, how many items it was given, and how many it left."""

    stage: str
    ms: float
    n_in: int
    n_out: int


class Move(msgspec.Struct, kw_only=True):
    """What one rule did to an item: from which place to which, counted from 1; None: not there."""

    rule: str
    before: int | None
    after: int | None
    why: str


class ItemTrace(msgspec.Struct, kw_only=True):
    """An item's way through the stages: ranks count from 1, None where it was not there."""

    item_id: str
    title: str
    genre: str | None
    sources: dict[str, int]  # its rank in each source that had it
    merged_rank: int | None  # of all that the sources had
    merged_score: float | None
    candidate_rank: int | None  # of those that may leave
    ranker_rank: int | None
    ranker_score: float | None
    moves: list[Move]
    place: int | None  # in the slate


class Explained(msgspec.Struct, kw_only=True):
    """One request, stage by stage, as it would be answered now."""

    subject: str | None
    release: str
    tier: str
    exit: str
    route: str  # by which /v1/recommend would answer it now
    route_why: str
    course: str  # the best tier that the guard and the request let it go for
    quality: float
    degraded: list[str]  # stage: why
    state_version: int
    n_interactions: int
    recent: list[NamedItem]  # newest first
    stages: list[StageTrace]
    sources: list[SourceTrace]
    rules: dict[str, int]  # how many items each rule moved or dropped
    items: list[ItemTrace]  # the slate, then what did not get there, best first


class Nearest(msgspec.Struct, kw_only=True):
    """The items nearest to one vector of a user."""

    vector: str  # session, user or content
    length: float  # Euclidean
    items: list[NamedItem]


def named(rows: Sequence[int], catalog: Catalog, scores: Iterable[float] | None = None) -> list[NamedItem]:
    """The items of `rows`, in their order."""
    listed = [None] * len(rows) if scores is None else [round(score, 4) for score in scores]
    return [
        NamedItem(item_id=catalog.ids[row], title=catalog.titles[row], genre=genre_of(row, catalog), score=score)
        for row, score in zip(rows, listed, strict=True)
    ]


def genre_of(row: int, catalog: Catalog) -> str | None:
    """The primary genre of an item."""
    code = int(catalog.genre[row])
    return catalog.genres[code] if code >= 0 else None
