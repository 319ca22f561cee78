"""Parity is measured as written down, and a graph that ranks otherwise is refused with both numbers."""

import dataclasses

import msgspec
import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, small_config
from upnext.compress.export import int8_graph
from upnext.compress.parity import GraphParity, ParityBounds, check_parity, parity_report, rank_agreement
from upnext.compress.quantize import quantize_ranker
from upnext.compress.ranker import ExportedRanker, export_ranker
from upnext.compress.timing import CALLS_PER_TURN, time_in_turns
from upnext.errors import ParityError
from upnext.models.ranker_dnn import RankerDnn
from upnext.release.onnx_session import open_session
from upnext.training.ranker_loop import train_ranker

UNSEEN = planted_lists(100, seed=9, shortest=10)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr("upnext.compress.timing.ROUNDS", 2)


@pytest.fixture(scope="module")
def trained() -> RankerDnn:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model = train_ranker(planted_lists(), small_config(prior_column=0, epochs=4), seed=1)
    torch.set_num_threads(before)
    return model


@pytest.fixture(scope="module")
def exported(trained) -> ExportedRanker:
    return export_ranker(trained, planted_lists())


def test_a_sound_export_is_accepted_at_every_exit(trained, exported):
    report = parity_report(trained, exported, UNSEEN)
    check_parity(report, ParityBounds())
    assert [(g.precision, g.exit_depth) for g in report] == [(p, d) for p in ("float32", "int8") for d in (1, 2, 3)]
    for graph in report:
        assert graph.rank_agreement > 0.99
        assert graph.n_lists == 100
        assert graph.ndcg_loss_error < 0.02
        assert 0 < graph.p50_us <= graph.p99_us


def test_an_int8_graph_with_one_wrong_layer_is_refused(trained, exported):
    quantized, _ = quantize_ranker(exported.weights, planted_lists())
    layer = quantized.hidden[1]
    wrong = dataclasses.replace(layer, scale=layer.scale[::-1].copy(), weight=layer.weight[::-1].copy())
    broken = dataclasses.replace(quantized, hidden=(quantized.hidden[0], wrong, quantized.hidden[2]))
    graphs = {depth: int8_graph(broken, depth) for depth in (1, 2, 3)}
    report = parity_report(trained, dataclasses.replace(exported, int8_graphs=graphs), UNSEEN)
    with pytest.raises(ParityError, match="int8 graph of exit 2"):
        check_parity(report, ParityBounds())


def test_lists_of_another_catalogue_are_refused(trained, exported):
    longer = np.vstack([UNSEEN.item_inputs, UNSEEN.item_inputs[:1]])
    other = UNSEEN.item_inputs[::-1].copy()
    for item_inputs in (longer, other):
        with pytest.raises(ParityError, match="other item inputs"):
            parity_report(trained, exported, dataclasses.replace(UNSEEN, item_inputs=item_inputs))


def test_the_report_survives_json(trained, exported):
    report = parity_report(trained, exported, UNSEEN.take(np.arange(5)))
    assert msgspec.json.decode(msgspec.json.encode(report), type=list[GraphParity]) == report


def graph(**changes) -> GraphParity:
    sound = {
        "exit_depth": 3,
        "precision": "float32",
        "n_lists": 10,
        "ndcg_trained": 0.2,
        "ndcg_graph": 0.2,
        "ndcg_loss_error": 0.0,
        "rank_agreement": 1.0,
        "max_score_error": 0.0,
        "graph_bytes": 1,
        "p50_us": 1.0,
        "p99_us": 1.0,
    }
    return GraphParity(**(sound | changes))


def test_the_bounds_themselves_are_still_allowed():
    check_parity([graph(ndcg_graph=0.2 * 0.9951, rank_agreement=0.98, max_score_error=5e-3)], ParityBounds())
    check_parity([graph(ndcg_graph=0.2 * 0.99, ndcg_loss_error=0.0026)], ParityBounds())
    check_parity([graph(precision="int8", max_score_error=9.0, ndcg_graph=0.3)], ParityBounds())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ndcg_graph": 0.1989}, r"0\.1989 against 0\.2000 .* a loss of 0\.55% ± 0\.00%; at most 0\.50%"),
        ({"ndcg_graph": 0.2 * 0.99, "ndcg_loss_error": 0.0024}, r"1\.00% ± 0\.24%; at most 0\.50%"),
        ({"ndcg_graph": float("nan")}, "nan against"),
        ({"rank_agreement": 0.97}, r"0\.9700; at least 0\.9800"),
        ({"rank_agreement": float("nan")}, "nan; at least"),
        ({"max_score_error": 0.5}, r"0\.5 deviations; at most 0\.005"),
    ],
)
def test_each_bound_is_enforced_with_both_numbers(changes, told):
    with pytest.raises(ParityError, match=told):
        check_parity([graph(), graph(**changes)], ParityBounds())


@pytest.mark.parametrize(
    ("expected", "found", "agreement"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 31], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 2, 3], [1, 1, 2], 3**0.5 / 2),
        ([1, -np.inf, 2], [1, 5, 2], 1.0),
        ([1, 2], [np.nan, 1], np.nan),
    ],
)
def test_rank_agreement_is_spearmans(expected, found, agreement):
    result = rank_agreement(np.array([expected], np.float32), np.array([found], np.float32))
    assert result == pytest.approx(agreement, nan_ok=True)


def test_every_counted_call_is_timed(exported):
    times = time_in_turns([open_session(exported.float_graphs[1]), open_session(exported.int8_graphs[1])])
    assert times.shape == (2, 2 * CALLS_PER_TURN)
    assert (times > 0).all()
