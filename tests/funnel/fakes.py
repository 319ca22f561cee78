"""Small exact parts to build funnels from, whose right answers are known."""

from collections.abc import Callable

import numpy as np

from upnext.catalog.catalog import Catalog
from upnext.clock import Clock, Deadline, ManualClock
from upnext.domain.event import Item
from upnext.features.item_vectors import ItemVectors
from upnext.features.user_view import UserView
from upnext.funnel.answer import Answer, Ranked
from upnext.funnel.funnel import Funnel
from upnext.funnel.request import SlateRequest
from upnext.funnel.retrieval.sources import Indexes
from upnext.index.flat import FlatIndex
from upnext.index.interface import Allowed
from upnext.settings import Settings
from upnext.state.crowd import Crowd

NOW_MS = 1_700_000_000_000
GENRES = ("Drama", "Comedy", "Horror", "")


def rows_of(*rows: int) -> np.ndarray:
    return np.array(rows, np.int32)


def ranked_of(tier: str, rows, source: int = 1) -> Ranked:
    rows = np.array(rows, np.int32)
    scores = np.linspace(1, 0, len(rows), endpoint=False, dtype=np.float32)
    return Ranked(tier, rows, scores, np.full(len(rows), source, np.uint16))


def catalog_of(n_items: int, **columns: dict[int, object]) -> Catalog:
    """Items "0", "1", … of changing genres; `columns` sets fields of single rows, as in `promoted={3: True}`."""
    fields = [{"genres": (genre,) if (genre := GENRES[row % len(GENRES)]) else ()} for row in range(n_items)]
    for name, by_row in columns.items():
        for row, value in by_row.items():
            fields[row][name] = value
    return Catalog.build(Item(item_id=str(row), **fields[row]) for row in range(n_items))


class ExactIndex:
    """Nearest by inner product, ties by row; `before` runs first and may raise or let time pass."""

    kind = "exact"

    def __init__(self, vectors: np.ndarray, before: Callable[[], None] = lambda: None) -> None:
        self._vectors = vectors
        self._before = before
        self.n_items, self.dim = vectors.shape
        self.parameters: dict[str, int] = {}
        self.asked: list[int] = []  # k of every search

    def search(self, queries, k, *, allowed=None):
        self._before()
        self.asked.append(k)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int32)
        every = np.arange(len(self._vectors)) if allowed is None else np.flatnonzero(mask_of(allowed))
        for place, query in enumerate(queries):
            products = self._vectors[every] @ query
            best = np.lexsort((every, -products))[:k]
            scores[place, : len(best)], rows[place, : len(best)] = products[best], every[best]
        return scores, rows


def mask_of(allowed: Allowed) -> np.ndarray:
    return np.array([allowed.selector.is_member(row) for row in range(allowed.n_items)], np.bool_)


class FakeRanker:
    """A score per item, known beforehand; `before` runs first and may raise or let time pass."""

    exits = ("only",)
    default_exit = "only"

    def __init__(self, worth: np.ndarray, before: Callable[[], None] = lambda: None) -> None:
        self._worth = np.asarray(worth, np.float32)
        self._before = before

    def score(self, rows, user, cross, exit_name):
        assert exit_name == "only"
        assert len(cross) == len(rows)
        self._before()
        return self._worth[rows]


class World:
    """A catalogue with vectors of its own, a crowd of which nothing is known yet, and funnels over them."""

    def __init__(self, n_items: int = 200, *, dim: int = 8, seed: int = 0, **columns: dict[int, object]) -> None:
        rng = np.random.default_rng(seed)
        self.clock = ManualClock(NOW_MS)
        self.catalog = catalog_of(n_items, **columns)
        self.n_items, self.dim = n_items, dim
        self.session = rng.normal(size=(n_items, dim + 1)).astype(np.float16).astype(np.float32)
        self.user = rng.normal(size=(n_items, dim)).astype(np.float16).astype(np.float32)
        content = rng.normal(size=(n_items, dim)).astype(np.float32)
        content /= np.linalg.norm(content, axis=1, keepdims=True)
        self.content = content.astype(np.float16).astype(np.float32)
        self.vectors = ItemVectors(self.session, self.user, self.content)
        self.worth = rng.permutation(n_items).astype(np.float32)  # what the ranker thinks of each item
        self.rng = rng

    def crowd(self, settings: Settings, popular=()) -> Crowd:
        """A crowd that likes `popular`, the first most."""
        crowd = Crowd(self.n_items, settings)
        for place, row in enumerate(popular):
            for _ in range(len(popular) - place):
                crowd.trends.observe(int(row), NOW_MS)
        return crowd

    def real_indexes(self) -> Indexes:
        """Those that serve: exact too, since no vector here needs more than 16 bits a number."""
        return Indexes(FlatIndex.build(self.session), FlatIndex.build(self.user), FlatIndex.build(self.content))

    def indexes(self, **before: Callable[[], None]) -> Indexes:
        tables = {"session": self.session, "user": self.user, "content": self.content}
        return Indexes(**{space: ExactIndex(tables[space], before.get(space, lambda: None)) for space in tables})

    def funnel(self, settings: Settings | None = None, *, ranker="known", indexes=None, popular=(), crowd=None):
        settings = settings or Settings()
        if ranker == "known":
            ranker = FakeRanker(self.worth)
        crowd = crowd or self.crowd(settings, popular)
        return Funnel(self.catalog, self.vectors, indexes or self.indexes(), crowd, ranker, settings, self.clock)

    def view(self, *, seen=(), recent=(), n_interactions: int | None = None) -> UserView:
        """A user with vectors; n_interactions as many as recent unless told."""
        return UserView(
            n_interactions=len(recent) if n_interactions is None else n_interactions,
            last_ms=NOW_MS,
            recent_rows=rows_of(*recent),
            seen_rows=rows_of(*seen),
            user_vector=self.rng.normal(size=self.dim).astype(np.float32),
            session_vector=self.rng.normal(size=self.dim).astype(np.float32),
            state_version=7,
        )


def run(funnel: Funnel, clock: Clock, view=None, *, budget_ms=float("inf"), read=None, **request) -> Answer:
    """One request through the funnel."""
    answer = Answer(funnel.popular())
    asked = SlateRequest(**{"subject": "u:1", "k": 10} | request)
    deadline = Deadline.after(clock, budget_ms)
    funnel.run(asked, answer, read or (lambda _: UserView() if view is None else view), deadline)
    return answer


def noted(answer: Answer) -> list[tuple[str, str]]:
    return [(each.stage, each.why) for each in answer.degraded]


def fail() -> None:
    raise RuntimeError("broken on purpose")
