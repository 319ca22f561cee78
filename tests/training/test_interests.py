"""A history is taken apart along the vectors of its items, and put together by the best score."""

import numpy as np

from upnext.training.interests import apart, best_of_parts
from upnext.training.sequences import Sequences

# Items 0 to 2 point one way, 3 to 5 another, 6 and 7 a third; lengths differ, which must not matter.
VECTORS = np.array(
    [[1, 0, 0], [5, 0.1, 0], [1, 0.1, 0], [0, 1, 0], [0, 9, 0.1], [0, 1, 0.1], [0, 0, 1], [0, 0.1, 1]], np.float32
)
HISTORIES = Sequences(np.array([0, 6, 6, 8]), np.array([0, 3, 6, 1, 4, 0, 2, 5], np.int32))


def parts_of(n_interests: int, fewest: int) -> list[tuple[int, list[int]]]:
    parts, owners = apart(HISTORIES, VECTORS, n_interests, fewest=fewest)
    return [
        (int(owner), parts.items[parts.offsets[part] : parts.offsets[part + 1]].tolist())
        for part, owner in enumerate(owners)
    ]


def test_a_long_history_falls_into_its_interests_the_newest_first() -> None:
    assert parts_of(3, fewest=5) == [(0, [0, 1, 0]), (0, [3, 4]), (0, [6]), (1, []), (2, [2, 5])]


def test_no_more_parts_than_asked_for() -> None:
    assert [owner for owner, _ in parts_of(2, fewest=5)] == [0, 0, 1, 2]
    assert parts_of(1, fewest=0) == [(0, [0, 3, 6, 1, 4, 0]), (1, []), (2, [2, 5])]


def test_a_history_of_one_item_over_and_over_is_one_interest() -> None:
    parts, owners = apart(Sequences(np.array([0, 4]), np.zeros(4, np.int32)), VECTORS, 3, fewest=2)
    assert (parts.items.tolist(), owners.tolist()) == ([0] * 4, [0])


def test_an_item_counts_by_its_best_part() -> None:
    scores = np.array([[1, 5], [4, 2], [0, 0], [-1, -2]], np.float32)
    assert best_of_parts(scores, np.array([0, 0, 1, 2])).tolist() == [[4, 5], [0, 0], [-1, -2]]
