"""Recall and NDCG of many right items per user are the published ones."""

import numpy as np
import pytest

from upnext.errors import TrainingError
from upnext.training.all_ranking import all_ranking, random_split, recall_and_ndcg
from upnext.training.sequences import Sequences
from upnext.training.splits import Cases

FIRST, SECOND, THIRD = 1 / np.log2([2, 3, 4])


def sequences(lists: list[list[int]]) -> Sequences:
    offsets = np.cumsum([0, *(len(each) for each in lists)])
    return Sequences(offsets.astype(np.int64), np.array([item for each in lists for item in each], np.int32))


def cases_of(histories: list[list[int]]) -> Cases:
    n = len(histories)
    users = np.arange(n, dtype=np.int32)
    return Cases(users, sequences(histories), np.zeros(n, np.int64), np.full(n, -1, np.int32))


class Fixed:
    """Gives every user the same order."""

    def __init__(self, order: list[int]) -> None:
        self.name = "fixed"
        self.order = order

    def rank(self, cases: Cases, k: int) -> np.ndarray:
        return np.tile(np.array((self.order + [-1] * k)[:k], np.int32), (len(cases), 1))


@pytest.mark.parametrize(
    ("ranked", "wanted", "recall", "ndcg"),
    [
        ([4, 5, 6], [4], 1.0, 1.0),
        ([4, 5, 6], [6], 1.0, THIRD),
        ([4, 5, 6], [5, 9], 0.5, SECOND / (FIRST + SECOND)),
        ([4, 5, 6], [4, 5, 6, 7, 8, 9], 0.5, 1.0),  # more right items than places: recall by all of them, NDCG by k
        ([4, -1, -1], [5], 0.0, 0.0),
        ([4, 5, 6], [0, 1], 0.0, 0.0),
    ],
)
def test_a_ranking_earns_its_worked_out_figures(ranked, wanted, recall, ndcg) -> None:
    got = recall_and_ndcg(np.array([ranked], np.int32), sequences([wanted]))
    np.testing.assert_allclose(got, [[recall, ndcg]])


def test_items_of_one_user_are_no_hits_of_another() -> None:
    got = recall_and_ndcg(np.array([[1, 2], [1, 2]], np.int32), sequences([[1], [3]]))
    np.testing.assert_allclose(got[:, 0], [1.0, 0.0])


def test_figures_are_averages_over_users_and_training_items_do_not_take_a_place() -> None:
    measured = all_ranking([Fixed([0, 1, 2, 3])], cases_of([[0, 1], [3]]), sequences([[2], [1, 9]]), 4, k=3)
    figures = measured.systems["fixed"]
    assert figures["recall@3"] == pytest.approx((1.0 + 0.5) / 2)
    # 0 and 1 are of the first user's history: 2 stands second, behind nothing but itself
    assert figures["ndcg@3"] == pytest.approx((FIRST + SECOND / (FIRST + SECOND)) / 2)
    assert (figures["n_cases"], figures["coverage"]) == (2, 0.75)


def test_intervals_hold_the_mean_and_repeat_with_a_seed() -> None:
    rng = np.random.default_rng(1)
    wanted = [[int(item)] for item in rng.integers(0, 30, 60)]
    first, second = (
        all_ranking([Fixed(list(range(30)))], cases_of([[]] * 60), sequences(wanted), 30, seed=4) for _ in range(2)
    )
    low, high = first.intervals["fixed"]["ndcg@20"]
    assert low < first.systems["fixed"]["ndcg@20"] < high
    assert first.intervals == second.intervals


def test_a_user_without_an_item_to_find_is_refused() -> None:
    with pytest.raises(TrainingError, match="no user with an item to find"):
        all_ranking([Fixed([0])], cases_of([[], []]), sequences([[0], []]), 1)


def test_a_random_split_takes_the_same_share_of_each_user() -> None:
    users = np.repeat([2, 0, 1], [10, 5, 3])
    test = random_split(users, 0.2, np.random.default_rng(0))
    assert [int(test[users == user].sum()) for user in range(3)] == [1, 0, 2]
    again = random_split(users, 0.2, np.random.default_rng(0))
    other = random_split(users, 0.2, np.random.default_rng(1))
    assert (test == again).all()
    assert (test != other).any()
