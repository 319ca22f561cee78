"""Integers stand for the weights they came from, within half a step."""

import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.compress.fold import ranker_weights
from upnext.compress.quantize import PackedSide, QuantizedRanker, activation_ranges, quantize_ranker
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists
from upnext.training.ranker_batches import learn_standardisation


def one_layer(weight: list[list[float]], bias: list[float]) -> tuple[RankerDnn, RankerLists]:
    """A ranker whose first layer hands on the one cross column, taken as 2 and 4, then one hidden layer."""
    lists = RankerLists(
        item_inputs=np.zeros((3, 1), np.float32),
        user=np.zeros((1, 1), np.float32),
        rows=np.array([[0, 1]], np.int32),
        cross=np.array([[[2], [4]]], np.float32),
        target=np.array([0], np.int32),
    )
    model = random_ranker(small_config(first_width=1, hidden=(len(bias),), exits=(1,)), lists)
    for parameter in model.parameters():
        parameter.data.zero_()
    model.cross_side.weight.data.fill_(1)
    model.hidden[0].weight.data = torch.tensor(weight)
    model.hidden[0].bias.data = torch.tensor(bias)
    model.heads[0].weight.data.fill_(1)
    return model, lists


def test_ranges_are_the_largest_activations_seen():
    model, lists = one_layer([[1.0], [-1.0]], [0.5, 3.0])
    first, hidden = activation_ranges(ranker_weights(model), lists)
    assert first == pytest.approx([4.0], rel=1e-3)
    assert hidden == pytest.approx([4.5, 1.0], rel=1e-3)


def test_padded_places_do_not_widen_a_range():
    model, lists = one_layer([[1.0]], [0.0])
    lists.rows[0, 1] = -1
    assert activation_ranges(ranker_weights(model), lists)[0] == pytest.approx([2.0])


def test_a_layer_computes_in_integers_what_it_computed_in_floats():
    model, lists = one_layer([[1.0], [-1.0]], [0.5, 3.0])
    quantized, _ = quantize_ranker(ranker_weights(model), lists)
    layer = quantized.hidden[0]
    assert np.abs(layer.weight).max(axis=0).tolist() == [127, 127]
    inputs = np.array([[255 / 2], [255]])  # 2 and 4 of a range of 4
    outputs = (inputs @ layer.weight + layer.bias) * layer.scale * [4.5 / 255, 1 / 255]
    assert outputs == pytest.approx(np.array([[2.5, 1.0], [4.5, -1.0]]), rel=1e-2)


def test_a_channel_that_is_always_silent_stays_silent_and_harms_no_other():
    model, lists = one_layer([[1.0], [-1.0]], [0.5, -50.0])
    quantized, _ = quantize_ranker(ranker_weights(model), lists)
    layer = quantized.hidden[0]
    outputs = (np.array([[0], [255]]) @ layer.weight + layer.bias) * layer.scale
    assert (outputs[:, 1] < 0).all()
    assert np.isfinite(layer.scale).all()
    assert outputs[:, 0] * 4.5 / 255 == pytest.approx([0.5, 4.5], rel=1e-2)


def test_a_column_far_from_zero_costs_no_accuracy():
    torch.manual_seed(0)
    lists = planted_lists(n_lists=10)
    lists.cross[:] = 7000 + lists.cross
    model = random_ranker(small_config(), lists)
    learn_standardisation(model, lists, np.arange(10), np.random.default_rng(0))
    weights = ranker_weights(model)
    quantized, items = quantize_ranker(weights, lists)
    user, cross = lists.user[0], lists.cross[0]
    found = user @ unpacked(quantized.user) + cross @ unpacked(quantized.cross) + quantized.bias
    expected = (user @ weights.user.folded + cross @ weights.cross.folded + weights.first_bias()) / items.scale
    assert np.abs(found - expected).max() < 0.05 * expected.std(axis=0).max()


def unpacked(side: PackedSide) -> np.ndarray:
    return side.row_scale[:, None] * side.values * side.column_scale


def parts(quantized: QuantizedRanker) -> list[np.ndarray]:
    layers = [*quantized.hidden, *quantized.heads.values()]
    return [quantized.bias, *(getattr(layer, name) for layer in layers for name in layer.__slots__)]


def test_quantizing_twice_gives_the_same_integers():
    torch.manual_seed(0)
    lists = planted_lists(n_lists=10)
    weights = ranker_weights(random_ranker(small_config(), lists))
    (first, items), (second, other_items) = (quantize_ranker(weights, lists) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(parts(first), parts(second), strict=True))
    assert np.array_equal(items.table, other_items.table)


def test_no_item_of_the_catalogue_saturates_the_table():
    torch.manual_seed(0)
    lists = planted_lists(n_lists=2)
    weights = ranker_weights(random_ranker(small_config(), lists))
    _, items = quantize_ranker(weights, lists)
    assert np.abs(items.table * items.scale - weights.item_part(lists.item_inputs)).max() <= 0.51 * items.scale.max()
