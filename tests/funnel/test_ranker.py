"""Graphs over folded items: a score belongs to its candidate, whoever else is asked about."""

import numpy as np
import pytest
import torch

from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.compress.ranker import export_ranker
from upnext.funnel.ranking.chunking import measured_chunk
from upnext.funnel.ranking.ranker import GraphRanker
from upnext.release.onnx_session import open_session


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    lists = planted_lists(40)
    exported = export_ranker(random_ranker(small_config(), lists), lists)
    graphs = {f"exit{depth}": open_session(graph) for depth, graph in exported.int8_graphs.items()}
    return graphs, exported.items.table, lists


def ranker_of(parts, chunk: int) -> GraphRanker:
    graphs, table, _ = parts
    return GraphRanker(graphs, table, default_exit="exit3", chunk=chunk)


def question(parts):
    lists = parts[2]
    return lists.rows[0], lists.user[0], lists.cross[0].astype(np.float32)


@pytest.mark.parametrize("chunk", [1, 7, 20, 39, 40])
def test_chunks_give_the_scores_of_one_call(parts, chunk):
    rows, user, cross = question(parts)
    for exit_name in ("exit1", "exit2", "exit3"):
        whole = ranker_of(parts, 1_024).score(rows, user, cross, exit_name)
        assert whole.shape == (40,)
        assert whole.dtype == np.float32
        assert len(set(whole.tolist())) > 20
        assert ranker_of(parts, chunk).score(rows, user, cross, exit_name).tolist() == whole.tolist()


def test_a_score_does_not_depend_on_the_other_candidates(parts):
    ranker, (rows, user, cross) = ranker_of(parts, 1_024), question(parts)
    whole = ranker.score(rows, user, cross, "exit3")
    order = np.random.default_rng(0).permutation(40)[:17]
    assert ranker.score(rows[order], user, cross[order], "exit3").tolist() == whole[order].tolist()
    for place in range(0, 40, 9):
        alone = slice(place, place + 1)
        assert ranker.score(rows[alone], user, cross[alone], "exit3").tolist() == [whole[place]]


def test_exits_are_told_from_the_shallowest_to_the_deepest(parts):
    ranker = ranker_of(parts, 1_024)
    assert ranker.exits == ("exit1", "exit2", "exit3")
    assert ranker.default_exit == "exit3"
    rows, user, cross = question(parts)
    scores = [ranker.score(rows, user, cross, name).tolist() for name in ranker.exits]
    assert scores[0] != scores[1] != scores[2]


def test_another_chunk_size_changes_no_score(parts):
    rows, user, cross = question(parts)
    ranker = ranker_of(parts, 1_024)
    other = ranker.with_chunk(7)
    assert (other.exits, other.default_exit) == (ranker.exits, ranker.default_exit)
    for name in ranker.exits:
        assert other.score(rows, user, cross, name).tolist() == ranker.score(rows, user, cross, name).tolist()


def test_made_up_inputs_are_such_as_the_graphs_take(parts):
    ranker, (_, user, cross) = ranker_of(parts, 64), question(parts)
    inputs = ranker.made_up_inputs(130)
    assert (inputs.user.shape, inputs.cross.shape) == (user.shape, (130, cross.shape[1]))
    assert 0 <= inputs.rows.min() < inputs.rows.max() < len(parts[1])
    assert len(set(ranker.score(inputs.rows, inputs.user, inputs.cross, "exit3").tolist())) > 20
    assert measured_chunk(ranker, 130, rounds=3) in (64, 128, 1_024)
