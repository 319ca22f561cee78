"""The vector indexes of a catalogue: kinds and parameters chosen by measuring on its own vectors and queries."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.features.item_vectors import ItemVectors
from upnext.funnel.retrieval.sources import Indexes
from upnext.index.autotune import IndexTrial, autotune
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
) -> TunedIndexes:
    """One index per space; `queries` (n, dim) of a space are what it is measured with, where there are any."""
    built: dict[str, VectorIndex] = {}
    trials: dict[str, list[IndexTrial]] = {}
    spaces = [
        (space, table) for space in ("session", "user", "content") if (table := getattr(vectors, space)) is not None
    ]
    for done, (space, table) in enumerate(spaces):
        progress(done, len(spaces), f"{space} index")
        fetched = {"session": settings.session_vector, "user": settings.user_vector, "content": settings.content}[space]
        built[space], trials[space] = autotune(
            table, k=max(1, min(fetched, len(table))), recall_target=settings.recall_target,
            queries=queries.get(space), seed=seed,
        )  # fmt: skip
    progress(len(spaces), len(spaces), "indexes")
    return TunedIndexes(Indexes(**built), trials)
