"""A ranker starts from the input that orders lists best, scaled as a softmax wants it."""

import numpy as np
import pytest

from upnext.models.ranker_lists import RankerLists
from upnext.training.prior import Prior, best_prior

N_LISTS, N = 400, 20


def lists_of(*columns: np.ndarray, target: np.ndarray) -> RankerLists:
    n = len(target)
    rows = np.tile(np.arange(N, dtype=np.int32), (n, 1))
    cross = np.stack(columns, axis=2).astype(np.float32)
    return RankerLists(np.zeros((N, 1), np.float32), np.zeros((n, 1), np.float32), rows, cross, target.astype(np.int32))


def test_the_best_column_is_found_with_the_weight_that_it_was_drawn_with() -> None:
    rng = np.random.default_rng(0)
    noise, useful = rng.normal(size=(2, N_LISTS, N))
    chances = np.exp(2.0 * useful)
    target = np.array([rng.choice(N, p=chance / chance.sum()) for chance in chances])
    found = best_prior(lists_of(noise, -useful, 100.0 * useful, target=target), seed=0)
    assert found.column == 2
    assert found.weight == pytest.approx(2.0 / 100.0, rel=0.1)


@pytest.mark.parametrize(("noise", "column"), [(0.02, 0), (0.3, 1)])
def test_the_first_column_stays_unless_another_is_clearly_better(noise: float, column: int) -> None:
    rng = np.random.default_rng(0)
    useful = rng.normal(size=(N_LISTS, N))
    first = useful + noise * rng.normal(size=useful.shape)
    assert best_prior(lists_of(first, useful, target=useful.argmax(axis=1)), seed=0).column == column


def test_a_column_that_tells_nothing_of_nothing_is_the_first_with_weight_one() -> None:
    same = np.ones((30, N))
    assert best_prior(lists_of(same, same, target=np.zeros(30)), seed=0) == Prior(0, 1.0)


def test_places_without_a_candidate_do_not_count() -> None:
    rng = np.random.default_rng(0)
    useful = rng.normal(size=(N_LISTS, N))
    useful[:, 10:] = 50.0
    lists = lists_of(rng.normal(size=(N_LISTS, N)), useful, target=useful[:, :10].argmax(axis=1))
    lists.rows[:, 10:] = -1
    assert best_prior(lists, seed=0).column == 1
