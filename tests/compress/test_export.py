"""Graphs compute what the model computes, each candidate on its own, in a fraction of the bytes."""

import numpy as np
import onnx
import pytest
import torch

from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.compress.export import IR_VERSION, OPSET, float_graph, int8_graph
from upnext.compress.fold import FoldedItems, RankerWeights, ranker_weights
from upnext.compress.quantize import QuantizedRanker, quantize_ranker
from upnext.errors import ReleaseCorrupt
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session
from upnext.training.ranker_batches import learn_standardisation

DEPTHS = (1, 2, 3)


@pytest.fixture(scope="module")
def lists() -> RankerLists:
    return planted_lists(n_lists=20)


@pytest.fixture(scope="module")
def model(lists):
    torch.manual_seed(0)
    model = random_ranker(small_config(), lists)
    learn_standardisation(model, lists, np.arange(len(lists)), np.random.default_rng(0))
    return model


@pytest.fixture(scope="module")
def weights(model) -> RankerWeights:
    return ranker_weights(model)


@pytest.fixture(scope="module")
def quantized(weights, lists) -> tuple[QuantizedRanker, FoldedItems]:
    return quantize_ranker(weights, lists)


def feed(hidden: np.ndarray, lists: RankerLists, number: int = 0) -> dict[str, np.ndarray]:
    return {"item_hidden": hidden, "user": lists.user[number : number + 1], "cross": lists.cross[number]}


def in_integers(ranker: QuantizedRanker, depth: int, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The int8 graph once more, in exact integer arithmetic."""

    def unpack(side):
        return side.row_scale[:, None] * side.values * side.column_scale

    x = inputs["user"] @ unpack(ranker.user) + ranker.bias + inputs["cross"] @ unpack(ranker.cross)
    x = np.clip(np.rint(x + inputs["item_hidden"]), 0, 255).astype(np.int64)
    for layer in ranker.hidden[:depth]:
        x = np.clip(np.rint((x @ layer.weight.astype(np.int64) + layer.bias) * layer.scale), 0, 255).astype(np.int64)
    head = ranker.heads[depth]
    deep = (x @ head.weight.astype(np.int64) + head.bias) * head.scale
    return deep[:, 0] + inputs["cross"] @ ranker.wide[depth]


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_float_graph_scores_like_the_model(model, weights, lists, depth):
    session = open_session(float_graph(weights, depth))
    for number in range(3):
        hidden = weights.item_part(lists.item_inputs[lists.rows[number]])
        expected = score_lists(model, lists, depth)[number]
        found = session.run(None, feed(hidden, lists, number))[0]
        assert found == pytest.approx(expected, abs=1e-4)
        assert expected.std() > 0.1


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("saturating", [False, True])
def test_the_int8_graph_computes_in_exact_integers(quantized, lists, depth, saturating):
    ranker, items = quantized
    session = open_session(int8_graph(ranker, depth), saturating=saturating)
    for number in range(3):
        inputs = feed(items.table[lists.rows[number]], lists, number)
        found, expected = session.run(None, inputs)[0], in_integers(ranker, depth, inputs)
        # A sum that lies on the edge between two integers may fall to either side: few candidates, one step.
        assert np.median(np.abs(found - expected)) < 1e-4
        assert np.abs(found - expected).max() < 0.05 * expected.std()


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_candidate_scores_the_same_in_any_company(quantized, lists, depth):
    ranker, items = quantized
    session = open_session(int8_graph(ranker, depth))
    inputs = feed(items.table[lists.rows[0]], lists)
    whole = session.run(None, inputs)[0]
    for part in (slice(0, 40, 3), slice(17, 33)):
        alone = {**inputs, "item_hidden": inputs["item_hidden"][part], "cross": inputs["cross"][part]}
        assert session.run(None, alone)[0] == pytest.approx(whole[part], abs=1e-5)


def test_no_candidates_give_no_scores(quantized, lists):
    ranker, items = quantized
    nothing = {"item_hidden": items.table[:0], "user": lists.user[:1], "cross": lists.cross[0, :0]}
    assert open_session(int8_graph(ranker, 3)).run(None, nothing)[0].shape == (0,)


@pytest.mark.parametrize("depth", RankerConfig().exits)
def test_int8_graphs_of_the_default_ranker_take_less_than_three_tenths_of_the_bytes(depth):
    lists = planted_lists(n_lists=4)
    wide = RankerLists(
        item_inputs=np.tile(lists.item_inputs, 16),
        user=np.tile(lists.user, 16),
        rows=lists.rows,
        cross=np.tile(lists.cross, 8),
        target=lists.target,
    )
    torch.manual_seed(0)
    weights = ranker_weights(random_ranker(RankerConfig(), wide))
    ranker, _ = quantize_ranker(weights, wide)
    assert len(int8_graph(ranker, depth)) < 0.3 * len(float_graph(weights, depth))


def test_graphs_name_the_versions_they_need(weights):
    graph = onnx.load_from_string(float_graph(weights, 1))
    assert graph.ir_version == IR_VERSION
    assert graph.opset_import[0].version == OPSET


def test_what_is_not_a_graph_is_refused_with_its_name(tmp_path):
    file = tmp_path / "ranker_3.onnx"
    file.write_bytes(b"not a graph")
    with pytest.raises(ReleaseCorrupt, match=r"ranker_3\.onnx"):
        open_session(file)
    with pytest.raises(ReleaseCorrupt, match="a graph of 3 bytes"):
        open_session(b"abc")
    with pytest.raises(ReleaseCorrupt, match=r"absent\.onnx"):
        open_session(tmp_path / "absent.onnx")
