"""Linear models against the problems they claim to solve, solved in another way."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import ElasticNet, Ridge

from upnext.errors import TrainingError
from upnext.models.linear import LinearConfig, neighbour_lists
from upnext.training import linear_models
from upnext.training.linear_models import (
    fit_ease,
    fit_ials,
    fit_item_knn,
    fit_linear,
    fit_slim,
    refitted,
    user_items_of,
)


@pytest.fixture(scope="module")
def user_items() -> sparse.csr_matrix:
    """60 users of two tastes over 12 items."""
    rng = np.random.default_rng(5)
    taste = np.arange(60)[:, None] % 2 == np.arange(12) % 2
    return sparse.csr_matrix((rng.random((60, 12)) < np.where(taste, 0.6, 0.15)).astype(np.float32))


def test_ease_solves_a_ridge_regression_for_each_item_from_all_others(user_items) -> None:
    weights, dense = fit_ease(user_items, 3.0), user_items.toarray()
    assert (weights.shape, weights.dtype) == ((12, 12), np.float32)
    np.testing.assert_array_equal(np.diagonal(weights), 0)
    for item in range(12):
        others = np.arange(12) != item
        ridge = Ridge(alpha=3.0, fit_intercept=False).fit(dense[:, others].astype(np.float64), dense[:, item])
        np.testing.assert_allclose(weights[others, item], ridge.coef_, atol=1e-4)


def test_slim_solves_an_elastic_net_for_each_item_from_all_others(user_items) -> None:
    weights, dense = fit_slim(user_items, l1=2.0, l2=3.0, n_candidates=11).toarray(), user_items.toarray()
    np.testing.assert_array_equal(np.diagonal(weights), 0)
    for item in range(12):
        others = np.arange(12) != item
        penalty = (2.0 + 3.0) / len(dense)
        net = ElasticNet(alpha=penalty, l1_ratio=2.0 / 5.0, fit_intercept=False, positive=True, tol=1e-8)
        net.fit(dense[:, others].astype(np.float64), dense[:, item])
        np.testing.assert_allclose(weights[others, item], net.coef_, atol=1e-3)
    assert 0 < (weights > 0).sum() < 12 * 11  # l1 leaves something out


def test_slim_uses_only_the_items_most_often_chosen_together(user_items) -> None:
    together = (user_items.T @ user_items).toarray()
    np.fill_diagonal(together, 0)
    weights = fit_slim(user_items, l1=0.1, l2=1.0, n_candidates=3).toarray()
    for item in range(12):
        assert set(np.flatnonzero(weights[:, item])) <= set(np.argsort(-together[item], kind="stable")[:3])


def test_item_knn_is_the_shrunk_cosine_of_the_items_users() -> None:
    user_items = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0]], np.float32))
    near = fit_item_knn(user_items, shrinkage=2.0, width=2).toarray()
    first, second = 2 / (np.sqrt(8) + 2), 1 / (2 + 2)
    np.testing.assert_allclose(near, [[0, first, second], [first, 0, 0], [second, 0, 0]], atol=1e-6)
    assert (fit_item_knn(user_items, shrinkage=2.0, width=1).toarray()[0] > 0).tolist() == [False, True, False]


def test_item_knn_of_a_long_catalogue_is_that_of_its_parts(user_items, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_item_knn(user_items, shrinkage=1.0, width=3).toarray()
    monkeypatch.setattr(linear_models, "KNN_BLOCK", 5)
    np.testing.assert_array_equal(fit_item_knn(user_items, shrinkage=1.0, width=3).toarray(), whole)


def test_refitted_weights_solve_a_ridge_regression_on_the_kept_neighbours(user_items) -> None:
    lists, dense = neighbour_lists(fit_ease(user_items, 3.0), 4), user_items.toarray()
    weights = refitted(user_items, lists, 3.0).matrix().toarray()
    kept = lists.matrix().toarray() > 0
    np.testing.assert_array_equal(weights != 0, kept)
    for item in range(12):
        own = kept[:, item]
        if own.any():
            ridge = Ridge(alpha=3.0, fit_intercept=False).fit(dense[:, own].astype(np.float64), dense[:, item])
            np.testing.assert_allclose(weights[own, item], ridge.coef_, atol=1e-4)


def test_refitted_lists_are_in_the_order_of_their_new_weights(user_items) -> None:
    lists = refitted(user_items, neighbour_lists(fit_ease(user_items, 3.0), 4), 3.0)
    ordered = np.where(lists.rows >= 0, lists.weights, -np.inf)
    np.testing.assert_array_equal(ordered, -np.sort(-ordered, axis=1))


def test_ials_scores_a_users_own_taste_higher(user_items) -> None:
    users, items = fit_ials(user_items, factors=4, regularization=1.0, alpha=5.0, iterations=10, seed=0)
    assert (users.shape, items.shape, users.dtype) == ((60, 4), (12, 4), np.float32)
    scores = users @ items.T
    own = np.arange(60)[:, None] % 2 == np.arange(12) % 2
    assert scores[own].mean() > scores[~own].mean() + 0.3


@pytest.mark.parametrize("kind", ["ease", "item_knn", "slim"])
def test_every_kind_finds_the_withheld_item_of_a_taste(kind, user_items) -> None:
    lists = fit_linear(
        user_items, LinearConfig(kind=kind, ease_l2=5.0, slim_l1=0.5, slim_l2=1.0, refit_l2=5.0, width=8)
    )
    assert lists is not None
    for withheld in range(12):
        history = np.zeros((1, 12), np.float32)
        history[0, withheld % 2 :: 2] = 1
        history[0, withheld] = 0
        scores = np.where(history > 0, -np.inf, lists.scores(sparse.csr_matrix(history)))
        assert scores.argmax() == withheld


def test_an_item_nobody_chose_has_no_neighbours_in_any_kind(user_items) -> None:
    wider = sparse.hstack([user_items, sparse.csr_matrix((60, 1), dtype=np.float32)], format="csr")
    for kind in ("ease", "item_knn", "slim"):
        lists = fit_linear(wider, LinearConfig(kind=kind, width=4))
        assert (lists.rows[12] == -1).all()
        assert not (lists.rows == 12).any()


def test_kind_none_gives_nothing(user_items) -> None:
    assert fit_linear(user_items, LinearConfig(kind="none")) is None


def test_ease_refuses_a_penalty_of_zero_and_a_catalogue_beyond_its_memory(user_items) -> None:
    with pytest.raises(TrainingError, match="must be above 0"):
        fit_ease(user_items, 0.0)
    with pytest.raises(TrainingError, match=r"linear\.ease_bytes"):
        fit_ease(user_items, 1.0, most_bytes=1_000)


def test_choosing_an_item_twice_is_choosing_it() -> None:
    matrix = user_items_of(np.array([0, 0, 1]), np.array([2, 2, 0]), (2, 3))
    assert matrix.toarray().tolist() == [[0, 0, 1], [1, 0, 0]]
