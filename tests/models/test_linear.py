"""Neighbour lists hold the largest weights of each row, and score a history by their sum."""

import numpy as np
import pytest
from scipy import sparse

from upnext.errors import TrainingError
from upnext.models.linear import LinearConfig, check_ease_fits, neighbour_lists

MATRIX = np.array(
    [[9.0, 0.5, 0.7, -1.0], [0.2, 9.0, 0.2, 0.2], [0.0, 0.0, 9.0, 0.0], [0.1, -0.2, 0.3, 9.0]], np.float32
)


@pytest.mark.parametrize("form", [lambda m: m, sparse.csr_matrix], ids=["dense", "sparse"])
def test_lists_hold_the_largest_positive_weights_without_the_item_itself(form) -> None:
    lists = neighbour_lists(form(MATRIX), 2)
    assert lists.rows.tolist() == [[2, 1], [0, 2], [-1, -1], [2, 0]]  # of equal weights the lower row
    np.testing.assert_allclose(lists.weights, [[0.7, 0.5], [0.2, 0.2], [0, 0], [0.3, 0.1]])
    assert (lists.rows.dtype, lists.weights.dtype) == (np.int32, np.float32)


def test_a_width_beyond_the_catalogue_is_filled_up() -> None:
    lists = neighbour_lists(MATRIX, 6)
    assert lists.rows.shape == lists.weights.shape == (4, 6)
    assert lists.rows[0].tolist() == [2, 1, -1, -1, -1, -1]


def test_a_history_scores_by_the_sum_of_its_items_weights() -> None:
    history = sparse.csr_matrix(np.array([[1.0, 1.0, 0, 0], [0, 0, 0, 0]], np.float32))
    scores = neighbour_lists(MATRIX, 2).scores(history)
    np.testing.assert_allclose(scores, [[0.2, 0.5, 0.9, 0.0], [0, 0, 0, 0]], atol=1e-6)


def test_the_kind_follows_the_size_of_the_catalogue_unless_it_is_said() -> None:
    assert LinearConfig().kind_for(20_000) == "ease"
    assert LinearConfig().kind_for(20_001) == "item_knn"
    assert LinearConfig(kind="slim").kind_for(10**6) == "slim"


def test_ease_over_too_large_a_catalogue_says_what_to_do() -> None:
    check_ease_fits(1_000, 8 * 10**6)
    with pytest.raises(TrainingError, match=r"needs 74\.5 GiB and may take 8\.0 GiB; raise linear\.ease_bytes"):
        check_ease_fits(100_000, 8 * 2**30)
