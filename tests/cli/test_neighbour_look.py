"""How far back to look is learnt: order that matters is looked at, and where there is none everything counts."""

import numpy as np
import pytest

from upnext.catalog.catalog import Catalog
from upnext.cli.pipeline.neighbour_look import TRIED, learnt_look
from upnext.cli.pipeline.world import World
from upnext.domain.event import ACTION_CODE, Item
from upnext.domain.identity import keys_of
from upnext.ingest.columns import EventColumns
from upnext.models.linear import NeighbourLists
from upnext.training.splits import Split

N_USERS, LENGTH, N_ITEMS = 60, 100, 300


def world_of(items: np.ndarray) -> tuple[World, Split]:
    """Each row of `items` (n_users, LENGTH + 1) is what a user chose; the last is the ranker's."""
    n = items.size
    users = np.repeat(np.arange(N_USERS, dtype=np.int32), LENGTH + 1)
    columns = EventColumns(
        user=users, item=items.ravel().astype(np.int32), action=np.full(n, ACTION_CODE["click"], np.uint8),
        timestamp_ms=np.arange(n), session=np.zeros(n, np.uint64), value=np.full(n, np.nan, np.float32),
        seq=np.arange(n) + 1, users=[f"u:{user}" for user in range(N_USERS)], items=[],
    )  # fmt: skip
    things = [Item(item_id=str(item)) for item in range(N_ITEMS)]
    world = World(columns, Catalog.build(things), things, [None] * N_USERS, keys_of(columns.users), n, 0)
    last = np.arange(n) % (LENGTH + 1) == LENGTH
    return world, Split("leave_one_out", ~last, last, users[:0], np.empty(0, np.int64))


def lists_to(next_of: np.ndarray) -> NeighbourLists:
    return NeighbourLists(next_of.astype(np.int32)[:, None], np.ones((N_ITEMS, 1), np.float32))


@pytest.mark.parametrize(("leads", "whole"), [(-1, False), (0, True)])
def test_where_the_item_that_leads_on_stands_decides(leads: int, whole: bool) -> None:
    """Item i leads to i + 150. What is chosen at last follows from the item at place `leads` of the history."""
    rng = np.random.default_rng(0)
    items = np.stack([rng.permutation(150)[: LENGTH + 1] for _ in range(N_USERS)])
    items[:, LENGTH] = items[:, :LENGTH][:, leads] + 150
    world, split = world_of(items)
    found = learnt_look(world, split, lists_to((np.arange(N_ITEMS) + 150) % N_ITEMS), 50, 0)
    assert found.whole == whole
    assert (found == TRIED[0]) == (not whole)
