"""Every width and precision of a ranker reads one item table and ranks as its trained model does."""

import numpy as np
import onnx
import pytest
import torch

from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.compress.export import int4_graph
from upnext.compress.fold import in_table_units, ranker_weights
from upnext.compress.int4 import pack_int4, unpack_int4
from upnext.compress.prune import by_importance, prune
from upnext.compress.quantize import activation_ranges
from upnext.compress.ranker import score_lists_with, table_items
from upnext.compress.widths import PRECISIONS, Width, Widths, pruned_models, quantize_widths
from upnext.models.ranker_dnn import RankerDnn, score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session
from upnext.training.ranker_batches import learn_standardisation

LEAST_AGREEMENT = {"float32": 0.999, "int8": 0.99, "int4": 0.95}


@pytest.fixture(scope="module")
def lists() -> RankerLists:
    return planted_lists(n_lists=20)


@pytest.fixture(scope="module")
def model(lists: RankerLists) -> RankerDnn:
    torch.manual_seed(0)
    model = random_ranker(small_config(first_width=64, hidden=(64, 32, 32)), lists)
    learn_standardisation(model, lists, np.arange(len(lists)), np.random.default_rng(0))
    return model


@pytest.fixture(scope="module")
def widths(model: RankerDnn, lists: RankerLists) -> Widths:
    ordered = by_importance(model)
    return quantize_widths({1.0: ordered, 0.5: prune(ordered, 0.5), 0.25: prune(ordered, 0.25)}, lists)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_each_width_scores_like_its_model_from_its_own_table_and_from_a_wider_one(widths, lists, precision, share):
    width: Width = widths.by_share[share]
    tables = {n: widths.table(n, lists.item_inputs).table for n in {width.n_first, 64}}
    for depth in (1, 3):
        expected = score_lists(width.model, lists, depth)
        found = []
        for n_table, table in tables.items():
            session = open_session(width.graph(precision, depth, n_table))
            found.append(score_lists_with(session, table_items(table), lists))
        agreement = [np.corrcoef(a, b)[0, 1] for a, b in zip(expected, found[0], strict=True)]
        assert np.mean(agreement) > LEAST_AGREEMENT[precision]
        assert all(np.array_equal(found[0], other) for other in found[1:])


def test_narrower_tables_are_the_first_columns_of_wider_ones(widths, lists):
    whole = widths.table(64, lists.item_inputs)
    for n_columns in (16, 32):
        narrow = widths.table(n_columns, lists.item_inputs)
        assert np.abs(narrow.table.astype(int) - whole.table[:, :n_columns]).max() <= 1  # sums in another order
        assert narrow.table.flags.c_contiguous
        assert np.abs(narrow.rows(lists.item_inputs).astype(int) - narrow.table).max() <= 1


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_int4_graph_multiplies_by_the_weights_it_stores(widths, lists, depth):
    width = widths.by_share[1.0]
    weights, table = width.in_units, widths.table(64, lists.item_inputs).table
    session = open_session(width.graph("int4", depth, 64))
    rows, cross, user = lists.rows[0], lists.cross[0], lists.user[:1]
    sides = width.quantized
    x = table[rows] + cross @ unpacked(sides.cross) + user @ unpacked(sides.user) + sides.bias
    x = np.maximum(x, 0)
    for weight, bias in weights.hidden[:depth]:
        x = np.maximum(x @ unpack_int4(pack_int4(weight)) + bias, 0)
    head, offset = weights.heads[depth]
    expected = (x @ head + offset)[:, 0] + cross @ weights.wide[depth]
    found = session.run(None, {"item_hidden": table[rows], "user": user, "cross": cross})[0]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-3 * float(expected.std()))


def unpacked(side) -> np.ndarray:
    return side.row_scale[:, None] * side.values * side.column_scale


def test_four_bit_weights_take_fewer_bytes_than_eight_and_those_fewer_than_float32(widths):
    width = widths.by_share[1.0]
    bits = {"float32": 32, "int8": 8, "int4": 5}  # a float32 scale for 32 weights is one bit more each
    n_hidden = sum(weight.size for weight, _ in width.weights.hidden)
    for precision, expected in bits.items():
        graph = onnx.load_from_string(width.graph(precision, 3, 64))
        stored = {tensor.name: len(tensor.raw_data) for tensor in graph.graph.initializer}
        size = sum(stored[f"w{depth}"] for depth in (1, 2, 3))
        size += sum(stored[f"s{depth}"] for depth in (1, 2, 3)) if precision == "int4" else 0
        assert size * 8 == expected * n_hidden


def test_moving_to_the_units_of_a_table_changes_no_score(model, lists):
    weights = ranker_weights(model)
    units = np.random.default_rng(0).uniform(0.1, 10, 64).astype(np.float32)
    moved = in_table_units(weights, units)
    rows, cross, user = lists.rows[0], lists.cross[0], lists.user[0]
    found = []
    for each in (weights, moved):
        x = each.item_part(lists.item_inputs[rows]) + cross @ each.cross.folded + user @ each.user.folded
        x = np.maximum(x + each.first_bias(), 0)
        found.append(np.maximum(x @ each.hidden[0][0] + each.hidden[0][1], 0))
    assert found[1] == pytest.approx(found[0], rel=1e-3, abs=1e-3)


def test_shares_that_come_to_the_same_widths_are_tried_once(model, lists):
    models = pruned_models(model, (1.0, 0.5, 0.49, 0.25, 0.2), lists, epochs=0, seed=0)
    assert list(models) == [1.0, 0.5, 0.25]
    assert [each.config.first_width for each in models.values()] == [64, 32, 16]


def test_the_int4_graph_is_made_for_any_number_of_candidates(widths, lists):
    width = widths.by_share[0.5]
    session = open_session(int4_graph(width.in_units, width.quantized, 3, 32))
    nothing = {"item_hidden": np.zeros((0, 32), np.int8), "user": lists.user[:1], "cross": lists.cross[0, :0]}
    assert session.run(None, nothing)[0].shape == (0,)


def test_no_width_saturates_in_the_units_of_the_shared_table(model, lists):
    ordered = by_importance(model)
    louder, quieter = prune(ordered, 0.5), prune(ordered, 0.25)
    louder.cross_side.weight.data *= 3
    quieter.cross_side.weight.data /= 3
    several = quantize_widths({1.0: ordered, 0.5: louder, 0.25: quieter}, lists)
    for width in several.by_share.values():
        reached = activation_ranges(width.weights, lists)[0]
        assert (reached <= 255 * 1.001 * several.units[: width.n_first]).all()
