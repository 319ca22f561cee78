"""A world of eight items whose features can be worked out by hand."""

import numpy as np

from upnext.catalog.catalog import Catalog
from upnext.domain.event import Item
from upnext.features.item_vectors import ItemVectors
from upnext.settings import HOUR_MS, Settings
from upnext.state.crowd import Crowd

NOW_MS = 1_700_000_000_000
GENRES = ("Drama", "Drama", "Drama", "Comedy", "Comedy", "War", None, "Drama")
N_ITEMS = len(GENRES)


def catalog() -> Catalog:
    return Catalog.build(
        Item(
            item_id=f"i{row}",
            genres=(genre,) if genre else (),
            published_ms=NOW_MS - 3 * HOUR_MS if row == 0 else None,
            price=(np.e - 1) if row == 1 else None,
        )
        for row, genre in enumerate(GENRES)
    )


def vectors() -> ItemVectors:
    """Session (2 + bias), user (2) and content (2) vectors; the last item has none."""
    session = np.array([[1, 0, 0.5], [0, 2, 0.25], [3, 4, -1], [1, 1, 0], [2, 0, 0], [0, 1, 1], [1, 2, 0], [0, 0, 0]])
    user = np.array([[1, 0], [0, 1], [1, 1], [2, 1], [0, 0], [1, 3], [1, 2], [0, 0]])
    content = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0], [0, 1], [1, 0], [0.8, 0.6], [0, 0]])
    return ItemVectors(session.astype(np.float32), user.astype(np.float32), content.astype(np.float32))


def crowd() -> Crowd:
    """Two visits, 0 → 1 → 2 and 0 → 1 → 3, the second an hour later."""
    crowd = Crowd(N_ITEMS, Settings())
    for visitor, rows, timestamp_ms in ((1, (0, 1, 2), NOW_MS - HOUR_MS), (2, (0, 1, 3), NOW_MS)):
        for row in rows:
            crowd.observe(visitor, 0, row, timestamp_ms)
    return crowd
