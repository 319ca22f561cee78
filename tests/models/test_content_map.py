"""From content vectors to session item vectors: a known linear relation is found, and lengths fit."""

import numpy as np
import pytest

from upnext.models.content_map import fit_content_map

N_ITEMS = 200


def unit_rows(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    rows = rng.normal(size=(n, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_linear_relation_is_found_again() -> None:
    rng = np.random.default_rng(0)
    content, right = unit_rows(rng, N_ITEMS, 6), rng.normal(size=(6, 4)).astype(np.float32)
    np.testing.assert_allclose(fit_content_map(content, content @ right, l2=1e-6), right, atol=1e-4)


def test_what_is_mapped_is_as_long_as_items_are_however_much_regression_shrinks() -> None:
    rng = np.random.default_rng(0)
    content, session = unit_rows(rng, N_ITEMS, 6), 7 * unit_rows(rng, N_ITEMS, 4)  # of nothing in common
    mapped = fit_content_map(content, session, l2=50.0)
    assert mapped.dtype == np.float32
    assert np.median(np.linalg.norm(content @ mapped, axis=1)) == pytest.approx(7, rel=1e-3)


def test_items_that_lack_a_vector_teach_nothing() -> None:
    rng = np.random.default_rng(0)
    content, session = unit_rows(rng, N_ITEMS, 6), unit_rows(rng, N_ITEMS, 4)
    content[:5], session[195:] = 0, 0
    np.testing.assert_allclose(fit_content_map(content, session), fit_content_map(content[5:195], session[5:195]))


def test_where_nothing_is_learnt_every_query_is_mapped_to_nothing() -> None:
    mapped = fit_content_map(np.zeros((5, 3), np.float32), np.ones((5, 2), np.float32))
    assert mapped.tolist() == np.zeros((3, 2)).tolist()
