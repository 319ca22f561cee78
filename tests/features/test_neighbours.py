"""Lists of neighbours added up over a user's newest items."""

import numpy as np
import pytest

from tests.funnel.fakes import World, rows_of, run
from upnext.features.neighbours import LookBack, Neighbours
from upnext.features.spec import SOURCE_BIT
from upnext.funnel.request import SlateRequest
from upnext.funnel.retrieval.sources import Indexes
from upnext.settings import RetrievalSettings, Settings

LISTS = np.array([[1, 2, -1], [3, 2, 0], [-1, -1, -1], [0, 4, 1]], np.int32)
WEIGHTS = np.array([[0.5, 0.25, 9.0], [1.0, 0.5, -2.0], [0, 0, 0], [0.3, 0.2, 0.1]], np.float32)


def scores_of(*recent: int) -> dict[int, float]:
    rows, scores = Neighbours(LISTS, WEIGHTS, 6).of(rows_of(*recent))
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    return dict(zip(rows.tolist(), scores.round(4).tolist(), strict=True))


def test_neighbours_of_the_newest_weigh_most() -> None:
    assert scores_of(0) == {1: 0.5, 2: 0.25}
    assert scores_of(0, 1) == pytest.approx({3: 1.0, 2: 0.5 + 0.9 * 0.25, 1: 0.45})
    assert scores_of(1, 0) == pytest.approx({1: 0.5, 2: 0.25 + 0.45, 3: 0.9})


def test_no_place_in_a_list_and_weights_below_zero_count_for_nothing() -> None:
    assert 0 not in scores_of(1)
    assert scores_of(2) == {}


def test_an_item_counts_once_and_only_twenty_of_them() -> None:
    assert scores_of(0, 1, 0) == scores_of(1, 0)
    lists = np.arange(1, 31, dtype=np.int32)[:, None]
    rows, _ = Neighbours(lists, np.ones((30, 1), np.float32), 31).of(rows_of(*range(30)))
    assert sorted(rows.tolist()) == list(range(11, 31))


def test_an_item_posted_later_has_no_list() -> None:
    assert scores_of(5) == scores_of() == {}
    assert scores_of(0, 5) == pytest.approx({1: 0.45, 2: 0.225})


@pytest.mark.parametrize("lists", [True, False])
def test_a_release_with_lists_has_the_source_and_one_without_goes_on(lists: bool) -> None:
    world = World()
    off = dict.fromkeys(("session_vector", "user_vector", "content", "covisit", "popular", "trending", "fresh"), 0)
    wide = np.full((world.n_items, 2), [7, 8], np.int32), np.tile(np.array([1, 2], np.float32), (world.n_items, 1))
    neighbours = Neighbours(*wide, world.n_items) if lists else None
    funnel = world.funnel(
        Settings(retrieval=RetrievalSettings(**off, session_knn=0)), indexes=Indexes(neighbours=neighbours), ranker=None
    )
    answer = run(funnel, world.clock, world.view(recent=[3]))
    fast = answer.ranked
    assert fast.rows[fast.sources == SOURCE_BIT["neighbours"]].tolist() == ([8, 7] if lists else [])
    assert [(each.stage, each.why) for each in answer.degraded] == [("ranking", "absent")]


def test_a_whole_history_counts_with_the_weight_of_the_oldest_of_the_newest() -> None:
    whole = Neighbours(LISTS, WEIGHTS, 6, LookBack(items=1, fade=0.5, whole=True))
    rows, scores = whole.of(rows_of(1, 0), rows_of(0, 1, 3))
    # 0 is the newest; 1 and 3 weigh as much, since it is the only one in order
    assert dict(zip(rows.tolist(), scores.round(4).tolist(), strict=True)) == pytest.approx(
        {1: 0.5 + 0.1, 2: 0.25 + 0.5, 3: 1.0, 0: 0.3, 4: 0.2}
    )
    assert whole.of(rows_of(1, 0))[0].tolist() == [1, 2], "without the others the newest alone"


def test_a_whole_history_is_bounded() -> None:
    lists = np.arange(1, 1_001, dtype=np.int32)[:, None]
    neighbours = Neighbours(lists, np.ones((1_000, 1), np.float32), 1_001, LookBack(items=50, fade=1.0, whole=True))
    rows, _ = neighbours.of(rows_of(*range(900, 1_000)), np.arange(1_000, dtype=np.int32))
    assert len(rows) == 256
    assert set(range(951, 1_001)) <= set(rows.tolist())


def test_a_source_that_is_switched_off_is_not_worked_out_for_the_ranker_either() -> None:
    world = World()
    lists = np.full((world.n_items, 2), [7, 8], np.int32), np.ones((world.n_items, 2), np.float32)
    indexes = Indexes(neighbours=Neighbours(*lists, world.n_items))
    for n, expected in ((5, [7, 8]), (0, [])):
        funnel = world.funnel(Settings(retrieval=RetrievalSettings(neighbours=n)), indexes=indexes, ranker=None)
        found = funnel.signals(world.view(recent=[3]), SlateRequest(subject=None, k=1))
        assert sorted(found.neighbour_rows.tolist()) == expected
