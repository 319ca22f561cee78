"""Folding moves the standardisation into the weights and the item side into a table, and changes no score."""

import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.compress import fold
from upnext.compress.fold import RankerWeights, fold_item_side, item_range, ranker_weights
from upnext.features.fold import fold_rows
from upnext.models.ranker_dnn import RankerDnn, score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.training.ranker_batches import learn_standardisation


@pytest.fixture
def lists() -> RankerLists:
    return planted_lists(n_lists=6)


@pytest.fixture
def model(lists: RankerLists) -> RankerDnn:
    torch.manual_seed(0)
    model = random_ranker(small_config(), lists)
    learn_standardisation(model, lists, np.arange(len(lists)), np.random.default_rng(0))
    return model


def score(weights: RankerWeights, lists: RankerLists, number: int, depth: int) -> np.ndarray:
    """The ranker once more, in nothing but matrix products on raw inputs."""
    cross = lists.cross[number]
    x = weights.item_part(lists.item_inputs[lists.rows[number]]) + cross @ weights.cross.folded
    x = np.maximum(x + lists.user[number] @ weights.user.folded + weights.first_bias(), 0)
    for weight, bias in weights.hidden[:depth]:
        x = np.maximum(x @ weight + bias, 0)
    head, offset = weights.heads[depth]
    return (x @ head + offset)[:, 0] + cross @ weights.wide[depth]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_folded_weights_score_raw_inputs_like_the_model(model, lists, depth):
    expected = score_lists(model, lists, depth)[2]
    found = score(ranker_weights(model), lists, 2, depth)
    assert found == pytest.approx(expected, abs=1e-4)
    assert expected.std() > 0.1


def test_the_table_is_the_item_part_in_whole_units(model, lists):
    weights = ranker_weights(model)
    scale = item_range(weights, lists.item_inputs) / np.float32(127)
    items = fold_item_side(weights, lists.item_inputs, scale)
    assert items.table.dtype == np.int8
    assert np.abs(items.table).max(axis=0).tolist() == [127] * 32
    assert np.abs(items.table * scale - weights.item_part(lists.item_inputs)).max() <= 0.501 * scale.max()


def test_the_table_is_the_same_in_one_block_and_in_many(model, lists, monkeypatch):
    weights = ranker_weights(model)
    scale = item_range(weights, lists.item_inputs) / np.float32(127)
    whole = fold_item_side(weights, lists.item_inputs, scale).table
    monkeypatch.setattr(fold, "BLOCK_ITEMS", 64)
    assert np.array_equal(fold_item_side(weights, lists.item_inputs, scale).table, whole)
    assert np.array_equal(item_range(weights, lists.item_inputs) / np.float32(127), scale)


def test_an_item_posted_later_gets_the_row_it_would_have_had(model, lists):
    weights = ranker_weights(model)
    scale = item_range(weights, lists.item_inputs) / np.float32(127)
    items = fold_item_side(weights, lists.item_inputs, scale)
    assert np.array_equal(items.rows(lists.item_inputs[40:43]), items.table[40:43])


def test_rows_are_rounded_and_clipped_into_int8():
    weight, offset = np.eye(3, dtype=np.float32), np.array([0, 0, 0.6], np.float32)
    rows = fold_rows(np.array([[1.4, -500, 1]], np.float32), weight, offset)
    assert rows.tolist() == [[1, -127, 2]]
