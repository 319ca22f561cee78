"""VMIS-kNN against the formula of its paper, on sessions small enough to count by hand."""

import math

import numpy as np
import pytest

from upnext.training.session_knn import VmisKnn

CLICKS = [  # sessions 1 to 5 by others, then the current one, 9
    ("u", "a", 1, "click", 1), ("u", "b", 2, "click", 1),
    ("v", "a", 3, "click", 2), ("v", "c", 4, "click", 2),
    ("w", "x", 5, "click", 3), ("w", "c", 6, "click", 3),
    ("y", "x", 7, "click", 5), ("y", "c", 8, "click", 5),
    ("w", "x", 9, "click", 4), ("w", "a", 10, "click", 4), ("w", "d", 11, "click", 4),
    ("z", "a", 12, "click", 9), ("z", "x", 13, "click", 9), ("z", "d", 14, "click", 9),
]  # fmt: skip


def told(columns, **how) -> VmisKnn:
    """Everything but the last click."""
    system = VmisKnn(columns, **how)
    mask = np.ones(len(columns.item), bool)
    mask[-1] = False
    system.warm(mask)
    return system


def ranked(columns_of, clicks=CLICKS, **how) -> list[str]:
    columns = columns_of(clicks)
    return [columns.items[row] for row in told(columns, **how).rank(len(clicks) - 1, 20)]


def test_votes_are_similarity_times_position_times_rarity(columns_of) -> None:
    columns = columns_of(CLICKS)
    idf = {item: math.log(6 / n) for item, n in {"b": 1, "c": 3, "d": 1}.items()}
    one, two, three, four, five = 0.5 * 0.8, 0.5 * 0.8, 1.0 * 0.9, 1.5 * 0.9, 1.0 * 0.9
    expected = {"b": one * idf["b"], "c": (two + three + five) * idf["c"], "d": four * idf["d"]}
    scores = told(columns).scores(len(CLICKS) - 1)
    assert {columns.items[row]: score for row, score in scores.items()} == pytest.approx(expected)
    assert ranked(columns_of) == ["d", "c", "b"]


def test_of_the_neighbours_only_the_most_similar_vote(columns_of) -> None:
    assert ranked(columns_of, neighbours=2) == ["d", "c"]
    assert ranked(columns_of, neighbours=1) == ["d"]


def test_only_the_newest_sessions_are_looked_at(columns_of) -> None:
    assert "b" in ranked(columns_of, newest=5)
    assert "b" not in ranked(columns_of, newest=4)
    assert ranked(columns_of, newest=1) == [], "the newest of each item is the current session itself"


def test_a_session_that_shares_nothing_has_no_neighbours(columns_of) -> None:
    assert ranked(columns_of, [("u", "a", 1, "click", 1), ("u", "b", 2, "click", 1), ("v", "q", 3, "click", 2)]) == []
    assert ranked(columns_of, [("u", "a", 1), ("u", "b", 2), ("v", "a", 3), ("v", "b", 4)]) == [], "no sessions at all"


@pytest.mark.parametrize("seed", range(3))
def test_warming_up_leaves_the_same_state_as_observing(seed, random_columns) -> None:
    columns = random_columns(seed)
    warmed, told = VmisKnn(columns), VmisKnn(columns)
    mask = columns.item >= 0
    mask[500:] = False
    warmed.warm(mask)
    for i in np.flatnonzero(mask):
        told.observe(int(i))
    for i in range(500, 600):
        assert warmed.rank(i, 20).tolist() == told.rank(i, 20).tolist()
