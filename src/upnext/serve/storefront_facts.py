"""What a storefront page needs beside a slate: the user's latest items, what each item is there for, searches.

For the compute thread: everything here reads vectors, counts or the store, and nothing of it knows HTML.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.clock import Clock, Deadline
from upnext.errors import StoreError
from upnext.features.content_text import WORD, embed_text, words_of_query
from upnext.features.spec import SOURCE_BIT
from upnext.features.user_view import UserView
from upnext.funnel.answer import Ranked
from upnext.funnel.live import Live

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_LATEST = 8  # of the user's items, that others may be there because of
_FETCHED = 96
_LEAST_ALIKE = 0.25  # cosine below which nothing is said to be there because of an item
_LEAST_LIKE_WORDS = 0.1  # cosine of an item's text and a search
_MOST_TITLE_BYTES = 8 * 2**20  # past that titles are found by their vectors alone
_NO_ROWS: Rows = np.empty(0, np.int32)
View = Callable[[Live, str | None, Deadline], UserView]


@dataclass(frozen=True, slots=True)
class Anchors:
    """For each item of a slate, which of the user's latest items speaks for it, by kind; -1 for none."""

    alike: list[int]
    followed: list[int]  # by others, with the item
    beside: list[int]  # in the lists of the linear model


@dataclass(slots=True)
class Facts:
    """Of one user at one moment; what could not be found in time is empty."""

    recent: list[int] = field(default_factory=list)  # rows, the newest first
    seen: Rows = field(default_factory=lambda: _NO_ROWS)
    anchors: Anchors | None = None
    like: Ranked | None = None  # items like the newest one
    found: Ranked | None = None  # by the search
    ms: dict[str, float] = field(default_factory=dict)  # that finding each took


def gather(
    facts: Facts, live: Live, view: View, subject: str | None, slate: Rows, search: str, clock: Clock,
    deadline: Deadline,
) -> None:  # fmt: skip
    """Fills `facts`, one after the other, so that what is there when time runs out can be shown."""
    try:
        seen_by_us = view(live, subject, deadline)
    except StoreError:  # whoever reads states for slates tells of it
        seen_by_us = UserView()
    facts.recent = list(dict.fromkeys(seen_by_us.recent_rows[::-1].tolist()))[:_LATEST]
    facts.seen = seen_by_us.seen_rows
    if search:
        begin_ms = clock.monotonic_ms()
        facts.found = found_by_words(live, search)
        facts.ms["found"] = clock.monotonic_ms() - begin_ms
    if facts.recent:
        begin_ms = clock.monotonic_ms()
        near = live.funnel.retrieval.similar(facts.recent[0], _FETCHED)
        if near is not None:
            facts.like = _ranked(*near, "similar")
        facts.ms["like"] = clock.monotonic_ms() - begin_ms
        facts.anchors = anchors_of(live, facts.recent, slate)


def anchors_of(live: Live, recent: Sequence[int], slate: Rows) -> Anchors:
    """Which of `recent` (rows, newest first) each of `slate` (n,) is there because of."""
    crowd, lists = live.funnel.crowd, live.funnel.indexes.neighbours
    followed, beside = [-1] * len(slate), [-1] * len(slate)
    for row in reversed(recent):  # the newest speaks last, and so counts
        _note(followed, slate, crowd.covisits.after_one(row)[0], row)
        if lists is not None:
            _note(beside, slate, lists.of(np.array([row], np.int32))[0], row)
    return Anchors(_alike(live, recent, slate), followed, beside)


def _note(places: list[int], slate: Rows, named: Rows, row: int) -> None:
    for at in np.isin(slate, named).nonzero()[0].tolist():
        places[at] = row


def _alike(live: Live, recent: Sequence[int], slate: Rows) -> list[int]:
    vectors = live.funnel.vectors
    for table in (vectors.user, vectors.content):
        if table is not None:
            rows, latest = _unit(table, slate), _unit(table, np.array(recent, np.int32))
            cosines = rows @ latest.T
            best = cosines.argmax(axis=1)
            enough = cosines[np.arange(len(slate)), best] >= _LEAST_ALIKE
            return [recent[at] if close else -1 for at, close in zip(best.tolist(), enough.tolist(), strict=True)]
    return [-1] * len(slate)


def _unit(table: Any, rows: Rows) -> Floats:
    taken: Floats = np.asarray(table.take(rows, axis=0), np.float32)
    lengths = np.linalg.norm(taken, axis=1, keepdims=True)
    unit: Floats = np.divide(taken, lengths, out=np.zeros_like(taken), where=lengths > 0)
    return unit


def found_by_words(live: Live, search: str) -> Ranked:
    """Items whose text reads like `search`, those with its words in their title first; empty where none does."""
    scores: dict[int, float] = {}
    content, index, table = live.text, live.funnel.indexes.content, live.funnel.vectors.content
    catalog = live.funnel.catalog
    if content is not None and index is not None and table is not None:
        query = embed_text(content, words_of_query(search))
        if query.any():
            cosines, rows = index.search(query[None], _FETCHED)
            scores = dict(zip(rows[0].tolist(), cosines[0].tolist(), strict=True))
            fresh = np.arange(catalog.n_released, catalog.n_released + catalog.n_fresh, dtype=np.int32)
            if len(fresh):
                scores |= dict(zip(fresh.tolist(), (table.take(fresh, axis=0) @ query).tolist(), strict=True))
    words = WORD.findall(search.lower())
    for row in rows_with_title(catalog, words):
        scores.setdefault(row, 0.0)
    kept = {row: score for row, score in scores.items() if row >= 0}
    if not kept:
        return _ranked(_NO_ROWS, np.empty(0, np.float32), "content")
    listed = np.array(list(kept), np.int32)
    values = np.array(list(kept.values()), np.float32)
    values += np.array([_share_of(words, title) for title in catalog.titles.take(listed)], np.float32)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] >= _LEAST_LIKE_WORDS]
    return _ranked(listed[order], values[order], "content")


def _share_of(words: Sequence[str], title: str) -> float:
    lower = title.lower()
    return sum(word in lower for word in words) / len(words) if words else 0.0


def rows_with_title(catalog: Catalog, words: Sequence[str]) -> list[int]:
    """The first rows whose title holds the longest of `words`, for words that no model has learnt."""
    titles = catalog.titles
    if not words or len(titles.blob) > _MOST_TITLE_BYTES:
        return []
    blob, word = titles.blob.tobytes().lower(), max(words, key=len).encode()
    rows: dict[int, None] = {}
    at = blob.find(word)
    while at >= 0 and len(rows) < _FETCHED:
        row = int(titles.offsets.searchsorted(at, side="right")) - 1
        if at + len(word) <= titles.offsets[row + 1]:
            rows[row] = None
        at = blob.find(word, at + 1)
    return list(rows)


def _ranked(rows: Rows, scores: Floats, source: str) -> Ranked:
    return Ranked("fast", rows, scores, np.full(len(rows), SOURCE_BIT[source], np.uint16))
