"""New items' vectors: where they start, what they learn, and that nothing else moves."""

import numpy as np
import pytest
import torch

from upnext.domain.event import Item, User
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_dnn import RankerDnn, score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.models.tower_inputs import tower_inputs
from upnext.training.item_update import Choices, _Judge, from_company, learn_rows
from upnext.training.ranker_update import _clearly_better, with_inputs
from upnext.training.sequences import Sequences


def test_a_new_item_starts_as_the_mean_of_known_items_around_it_in_the_same_history() -> None:
    table = np.array([[1, 0], [0, 1], [4, 4], [0, 0], [0, 0]], np.float32)
    known = np.array([True, True, True, False, False])
    histories = Sequences.from_events([0, 0, 0, 0, 1, 1], [0, 3, 1, 2, 2, 4], 2)
    start, found = from_company(table, np.array([3, 4]), known, histories, window=1)
    np.testing.assert_allclose(start, [[0.5, 0.5], [4, 4]])  # 3 lies between 0 and 1, 4 behind another user's 2
    assert found.tolist() == [True, True]
    _, found = from_company(table, np.array([3]), known & False, histories, window=1)
    assert found.tolist() == [False]


def test_a_new_item_learns_when_it_is_chosen_and_no_other_row_moves() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(30, 8)).astype(np.float32)
    table[29] = 0.0
    towards = rng.normal(size=8).astype(np.float32)
    queries = (towards + 0.1 * rng.normal(size=(400, 8))).astype(np.float32)
    moved = learn_rows(table, np.array([29]), Choices(queries, np.full(400, 29)), epochs=20, learning_rate=0.1, seed=0)
    np.testing.assert_array_equal(moved[:29], table[:29])
    assert (moved @ towards).argmax() == 29
    assert not table[29].any()


def test_a_ranker_scores_alike_when_its_inputs_come_in_another_order_beside_one_it_does_not_know() -> None:
    rng = np.random.default_rng(1)
    config = RankerConfig(first_width=8, hidden=(8, 8), exits=(1, 2))
    model = RankerDnn(config, n_item_inputs=3, n_user_inputs=2, n_cross_inputs=2).eval()
    for parameter in model.parameters():
        parameter.data.normal_()
    item, user = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)
    cross, rows = rng.normal(size=(4, 5, 2)).astype(np.float32), np.tile(np.arange(5, dtype=np.int32), (4, 1))
    lists = RankerLists(item, user, rows, cross, np.zeros(4, np.int32))
    strange = np.full((5, 1), 99.0, np.float32)
    mixed = RankerLists(
        np.hstack([item[:, [2, 0]], strange, item[:, [1]]]), user[:, ::-1].copy(), rows, cross, lists.target
    )
    other = with_inputs(model, (("a", "b", "c"), ("x", "y")), (("c", "a", "new", "b"), ("y", "x")))
    np.testing.assert_allclose(score_lists(other, mixed), score_lists(model, lists), rtol=1e-4, atol=1e-5)


def test_tower_inputs_made_with_earlier_names_have_the_same_columns_and_codes() -> None:
    items = [Item(item_id="a", genres=("Drama",)), Item(item_id="b", genres=("Drama", "War"))]
    users = [User(user_id="1", attributes={"country": "CH"}), User(user_id="2", attributes={"country": "DE"})]
    before = tower_inputs(items, users)
    later_items = [*items, *(Item(item_id=str(n), genres=("War", "Noir")) for n in range(3))]
    later_users = [User(user_id="3", attributes={"country": "AT"}), *users]
    later = tower_inputs(later_items, later_users, names=before.names)
    assert before.names is not None
    assert before.names.genres == ["Drama", "War"]
    np.testing.assert_array_equal(later.item_attributes[:2], before.item_attributes)
    assert later.user_attributes.tolist() == [[-1], [0], [1]]
    assert later.field_sizes == before.field_sizes == (2,)


def test_a_judge_says_what_the_softmax_over_all_rows_would() -> None:
    rng = np.random.default_rng(2)
    table, queries = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(25, 6)).astype(np.float32)
    targets, moving = rng.integers(0, 40, 25), np.array([3, 17, 39])
    targets[:3] = moving
    judge = _Judge(*(torch.from_numpy(part) for part in (table, moving, queries, targets)))
    for _ in range(2):
        logits = queries.astype(np.float64) @ table.T.astype(np.float64)
        expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(25), targets]
        assert judge.loss(torch.from_numpy(table[moving])) == pytest.approx(expected.mean(), rel=1e-5)
        table[moving] = rng.normal(size=(3, 6))


def test_few_lists_move_a_ranker_only_where_it_is_clearly_better() -> None:
    before, after = np.tile([0.0, 1.0], 50), np.tile([0.1, 1.0], 50)
    assert _clearly_better(after, before)
    assert not _clearly_better(before, before)
    lucky = before.copy()
    lucky[:2] = 1.0, 0.5  # one list of a hundred, and another worse
    assert not _clearly_better(lucky, before)
