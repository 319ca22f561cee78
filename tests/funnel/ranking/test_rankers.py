"""The three kinds of rankers keep the promises that the funnel relies on."""

import numpy as np
import pytest
import torch

from tests.funnel.ranking.own_graph import exported as exported_graph
from tests.funnel.ranking.own_graph import own_ranker
from tests.funnel.ranking.suite import RankerSuite
from tests.models.planted_lists import planted_lists, random_ranker, small_config
from upnext.compress.ranker import export_ranker
from upnext.errors import ReleaseError
from upnext.features.spec import FeatureSpec
from upnext.features.tree_inputs import plain_columns, tree_column_names
from upnext.funnel.ranking.item_side import RawSide
from upnext.funnel.ranking.ranker import GraphRanker
from upnext.funnel.ranking.trees import TreeRanker, open_booster
from upnext.models.ranker_trees import TreesConfig
from upnext.release.onnx_session import open_session
from upnext.training.ranker_trees_loop import score_lists_with_trees, train_trees

SPEC = FeatureSpec(
    user=("taste", "user_vector:0", "user_vector:1", "age"),
    item=("kind", "user_space:0", "price", "length", "year"),
    cross=("affinity", "noise", "more_noise"),
)


@pytest.fixture(scope="module")
def planted():
    return planted_lists(60)


@pytest.fixture(scope="module")
def exported(planted):
    torch.manual_seed(0)
    return export_ranker(random_ranker(small_config(), planted), planted)


@pytest.fixture(scope="module")
def trees(planted):
    return train_trees(planted, SPEC, TreesConfig(exits=(5, 10, 20), patience=20, sampled_candidates=0), seed=1)


class TestExportedRanker(RankerSuite):
    @pytest.fixture
    def lists(self, planted):
        return planted

    @pytest.fixture
    def ranker(self, exported):
        graphs = {f"exit{depth}": open_session(graph) for depth, graph in exported.int8_graphs.items()}
        return GraphRanker(graphs, exported.items.table, default_exit="exit3", chunk=1_024)

    def test_exits_are_told_from_the_shallowest_to_the_deepest(self, ranker):
        assert ranker.exits == ("exit1", "exit2", "exit3")


class TestGraphOfAnybodysOwn(RankerSuite):
    tolerance = 1e-5  # a float product of one row may be summed in another order than one of many

    @pytest.fixture
    def lists(self, planted):
        return planted

    @pytest.fixture
    def ranker(self, planted):
        torch.manual_seed(0)
        graphs = {name: open_session(own_ranker(4, 5, 3)) for name in ("own1", "own2")}
        return GraphRanker(graphs, planted.item_inputs, default_exit="own2", chunk=1_024)


class TestTrees(RankerSuite):
    @pytest.fixture
    def lists(self, planted):
        return planted

    @pytest.fixture
    def ranker(self, trees, planted):
        return TreeRanker(
            open_booster(trees.model), planted.item_inputs[:, plain_columns(SPEC.item)], plain_columns(SPEC.user),
            n_user=4, n_cross=3, exits=trees.exits, default_exit=f"trees{trees.exits[-1]}", chunk=1_024,
        )  # fmt: skip

    def test_exits_are_named_after_their_trees(self, ranker, trees):
        assert ranker.exits == tuple(f"trees{count}" for count in trees.exits)

    def test_what_is_served_scores_as_what_was_judged_in_training(self, ranker, trees, planted):
        judged = score_lists_with_trees(trees, planted, SPEC, trees.exits[0])
        for number in (0, 7):
            rows, user, cross = planted.rows[number], planted.user[number], planted.cross[number]
            assert ranker.score(rows, user, cross, ranker.exits[0]).tolist() == judged[number].tolist()

    def test_numbers_of_vectors_are_not_among_the_columns(self, trees):
        assert trees.columns == [
            "affinity", "noise", "more_noise", "user.taste", "user.age",
            "item.kind", "item.price", "item.length", "item.year",
        ]  # fmt: skip
        assert trees.columns == tree_column_names(SPEC)
        assert next(iter(trees.gains)) in ("affinity", "item.kind")

    def test_a_damaged_model_is_refused_with_what_to_do(self):
        with pytest.raises(ReleaseError, match=r"save them with save_model as \.ubj"):
            open_booster(b"no trees")

    def test_a_missing_package_is_told_by_name(self, monkeypatch, trees):
        monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
        with pytest.raises(ReleaseError, match=r"pip install 'upnext\[trees\]'"):
            open_booster(trees.model)


def test_a_graph_need_not_take_every_input(planted):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0))
    graph = open_session(exported_graph(module, {"cross": torch.zeros(2, 3)}, ["score"]))
    ranker = GraphRanker({"own": graph}, planted.item_inputs, default_exit="own", chunk=16, n_user=4)
    scores = ranker.score(planted.rows[0], planted.user[0], planted.cross[0], "own")
    assert scores == pytest.approx(module(torch.from_numpy(planted.cross[0])).detach().numpy(), rel=1e-4)
    assert ranker.made_up_inputs(3).user.shape == (4,)


def test_the_row_of_a_new_item_is_made_of_the_columns_that_the_table_has():
    side = RawSide(np.zeros((3, 2), np.float32), [0, 2])
    side.table[[1]] = side.rows(np.array([[5, 6, 7]], np.float32))
    assert side.table.tolist() == [[0, 0], [5, 7], [0, 0]]
