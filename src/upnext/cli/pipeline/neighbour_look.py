"""How far back a user's items are asked for their neighbours: tried on the ranker's part of the log."""

import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.encoders import histories_of
from upnext.cli.pipeline.world import World
from upnext.features.neighbours import LookBack, Neighbours
from upnext.models.linear import NeighbourLists
from upnext.training.splits import Split

TRIED = (LookBack(), LookBack(items=50, fade=1.0), LookBack(items=50, fade=1.0, whole=True))
_MOST_CASES, _TOP = 1_000, 50
_BETTER = 1.01  # than the default, before another way is taken


def learnt_look(world: World, split: Split, lists: NeighbourLists, recent_events: int, seed: int) -> LookBack:
    """The way to look back whose first 50 have most of what users chose next. `recent_events`: kept in their order."""
    first = _first_choices(world, split, seed)
    histories = histories_of(world, split.train)
    found = np.zeros(len(TRIED), np.int64)
    asked = [Neighbours(lists.rows, lists.weights, world.catalog.n_items, look) for look in TRIED]
    for event in first.tolist():
        user = int(world.columns.user[event])
        begin, end = int(histories.offsets[user]), int(histories.offsets[user + 1])
        rows = histories.items[begin:end].astype(np.int32)
        seen = np.unique(rows)
        for place, neighbours in enumerate(asked):
            listed = neighbours.of(rows[-recent_events:], seen)[0]
            found[place] += world.columns.item[event] in listed[~np.isin(listed, seen)][:_TOP]
    best = int(found.argmax())
    return TRIED[best] if found[best] > _BETTER * found[0] else TRIED[0]


def _first_choices(world: World, split: Split, seed: int) -> npt.NDArray[np.int64]:
    """Of some users the first event of the ranker's part."""
    events = np.flatnonzero(split.ranker)
    _, first = np.unique(world.columns.user[events], return_index=True)
    chosen: npt.NDArray[np.int64] = events[np.random.default_rng(seed).permutation(first)[:_MOST_CASES]]
    return chosen
