"""The vector indexes of a catalogue: kinds and parameters chosen by measuring on its own vectors and queries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.features.item_vectors import ItemVectors
from upnext.funnel.retrieval.sources import Indexes
from upnext.index.autotune import IndexTrial, autotune, extend
from upnext.index.interface import VectorIndex
from upnext.settings import RetrievalSettings

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TunedIndexes:
    """The chosen indexes, and everything that was tried."""

    indexes: Indexes
    trials: dict[str, list[IndexTrial]]


def build_indexes(
    vectors: ItemVectors,
    queries: dict[str, Floats],
    settings: RetrievalSettings,
    seed: int,
    progress: Callable[[int, int, str], None],
    kinds: Sequence[str] = (),
) -> TunedIndexes:
    """One index per space; `queries` (n, dim) of a space are what it is measured with, where there are any.

    `kinds` are tried whatever they cost; none: those that can win.
    """
    built: dict[str, VectorIndex] = {}
    trials: dict[str, list[IndexTrial]] = {}
    spaces = [
        (space, table) for space in ("session", "user", "content") if (table := getattr(vectors, space)) is not None
    ]
    for done, (space, table) in enumerate(spaces):
        progress(done, len(spaces), f"{space} index")
        built[space], trials[space] = autotune(
            table, k=_fetched(settings, space, len(table)), recall_target=settings.recall_target,
            queries=queries.get(space), seed=seed, kinds=kinds or None,
        )  # fmt: skip
    progress(len(spaces), len(spaces), "indexes")
    return TunedIndexes(Indexes(built.get("session"), built.get("user"), built.get("content")), trials)


def extend_indexes(
    before: Indexes,
    old: ItemVectors,
    vectors: ItemVectors,
    queries: dict[str, Floats],
    settings: RetrievalSettings,
    seed: int,
) -> TunedIndexes:
    """Those of `before`, built over `old`, grown to `vectors`, whose first rows are the same items."""
    built: dict[str, VectorIndex] = {}
    trials: dict[str, list[IndexTrial]] = {}
    for space in ("session", "user", "content"):
        table, was, index = getattr(vectors, space), getattr(old, space), getattr(before, space)
        if table is None or index is None:
            continue
        built[space], trials[space] = extend(
            index, table, k=_fetched(settings, space, len(table)), recall_target=settings.recall_target,
            queries=queries.get(space), seed=seed, changed=not np.array_equal(table[: len(was)], was),
        )  # fmt: skip
    return TunedIndexes(Indexes(built.get("session"), built.get("user"), built.get("content")), trials)


def _fetched(settings: RetrievalSettings, space: str, n_items: int) -> int:
    wanted = {"session": settings.session_vector, "user": settings.user_vector, "content": settings.content}[space]
    return max(1, min(wanted, n_items))
