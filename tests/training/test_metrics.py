"""Ranking metrics have known right answers."""

import math

import numpy as np
import pytest

from upnext.training.metrics import MISSED, coverage, gains, hit_rate, mrr, ndcg, places_in_rows, places_in_scores


def test_a_place_is_the_position_of_the_target_and_missed_when_absent() -> None:
    rows = np.array([[4, 7, 9], [1, 2, 3], [5, -1, -1]], dtype=np.int32)
    assert places_in_rows(rows, np.array([7, 8, 5])).tolist() == [1, MISSED, 0]


def test_of_a_repeated_item_the_first_place_counts() -> None:
    assert places_in_rows(np.array([[3, 5, 3]]), np.array([3])).tolist() == [0]


def test_rankings_of_no_items_miss_every_target() -> None:
    assert places_in_rows(np.zeros((2, 0), dtype=np.int32), np.array([0, 1])).tolist() == [MISSED, MISSED]


def test_ties_stand_before_the_target_whatever_their_row() -> None:
    scores = np.array([[0.5, 0.5, 0.5, 0.1], [0.9, 0.5, 0.5, 0.1]])
    assert places_in_scores(scores, np.array([0, 2])).tolist() == [2, 2]


def test_a_model_that_scores_all_alike_earns_nothing() -> None:
    places = places_in_scores(np.zeros((50, 100), dtype=np.float32), np.arange(50))
    assert hit_rate(places, 99) == 0.0


def test_nan_is_the_lowest_score_and_a_target_of_nan_is_missed() -> None:
    scores = np.array([[np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0]])
    assert places_in_scores(scores, np.array([1, 0])).tolist() == [1, MISSED]


def test_places_from_scores_and_from_a_sorted_ranking_agree_without_ties() -> None:
    rng = np.random.default_rng(3)
    scores = rng.permuted(np.tile(np.arange(40.0), (25, 1)), axis=1)
    targets = rng.integers(0, 40, 25)
    rows = np.argsort(-scores, axis=1)
    np.testing.assert_array_equal(places_in_scores(scores, targets), places_in_rows(rows, targets))


def test_hit_rate_ndcg_and_mrr_of_hand_made_places() -> None:
    places = np.array([0, 2, 9, 10, MISSED])
    assert hit_rate(places, 10) == pytest.approx(3 / 5)
    assert ndcg(places, 10) == pytest.approx((1 + 1 / math.log2(4) + 1 / math.log2(11)) / 5)
    assert mrr(places, 10) == pytest.approx((1 + 1 / 3 + 1 / 10) / 5)


def test_a_cut_off_of_one_makes_all_three_the_same() -> None:
    places = np.array([0, 1, 0, MISSED])
    assert hit_rate(places, 1) == ndcg(places, 1) == mrr(places, 1) == 0.5


def test_no_cases_give_zero_and_not_an_error() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert (hit_rate(none, 10), ndcg(none, 10), mrr(none, 10)) == (0.0, 0.0, 0.0)


def test_coverage_counts_distinct_items_and_no_padding() -> None:
    assert coverage(np.array([[0, 1, -1], [1, 3, -1]]), 10) == pytest.approx(0.3)
    assert coverage(np.zeros((0, 3), dtype=np.int32), 10) == 0.0


def test_what_each_case_adds_averages_to_the_figure() -> None:
    places = np.array([0, 1, 9, 10, MISSED])
    assert gains("hr@10", places).tolist() == [1, 1, 1, 0, 0]
    assert gains("recall@11", places).tolist() == [1, 1, 1, 1, 0]
    assert gains("mrr@10", places).tolist() == pytest.approx([1, 1 / 2, 1 / 10, 0, 0])
    assert gains("ndcg@10", places).tolist() == pytest.approx([1, 1 / math.log2(3), 1 / math.log2(11), 0, 0])
    for name, figure in (("hr@10", hit_rate), ("ndcg@10", ndcg), ("mrr@10", mrr)):
        assert gains(name, places).mean() == figure(places, 10)
