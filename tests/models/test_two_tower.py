"""The towers give vectors to everyone they can, and zeros to nobody they know something of."""

import numpy as np
import pytest
import torch

from upnext.domain.event import Item, User
from upnext.errors import TrainingError
from upnext.models.tower_inputs import TowerInputs, tower_inputs
from upnext.models.two_tower import TwoTower, TwoTowerConfig
from upnext.training.sequences import Sequences

CONFIG = TwoTowerConfig(embedding_size=8, hidden_size=16, half_lives=(0.0, 2.0), history_length=5)


def random_inputs(n_users: int = 6, n_items: int = 20, content: bool = True) -> TowerInputs:
    rng = np.random.default_rng(0)
    return TowerInputs(
        rng.integers(-1, 3, (n_users, 2)).astype(np.int32),
        rng.integers(0, 2, (n_items, 4)).astype(np.float32),
        rng.normal(size=(n_items, 3)).astype(np.float32) if content else None,
    )


@pytest.fixture(scope="module")
def model() -> TwoTower:
    torch.manual_seed(1)
    return TwoTower(random_inputs(), CONFIG).eval()


HISTORIES = Sequences(np.array([0, 3, 3, 10]), np.arange(10, dtype=np.int32))


def test_vectors_have_one_length_and_one_type(model) -> None:
    assert (model.item_vectors().shape, model.item_vectors().dtype) == ((20, 8), np.float32)
    vectors = model.user_vectors(HISTORIES)
    assert (vectors.shape, vectors.dtype) == ((3, 8), np.float32)


def test_a_user_of_whom_nothing_is_known_has_the_zero_vector(model) -> None:
    assert not model.user_vectors(HISTORIES, np.array([0, -1, 2]))[1].any()
    assert model.user_vectors(HISTORIES, np.array([0, -1, 2]))[[0, 2]].any(axis=1).all()
    assert not model.cold_user_vectors(np.full((2, 2), -1)).any()


def test_a_user_without_any_event_has_the_vector_of_their_attributes(model) -> None:
    attributes = random_inputs().user_attributes
    described = np.flatnonzero((attributes >= 0).any(axis=1))
    nothing = Sequences(np.zeros(len(described) + 1, np.int64), np.zeros(0, np.int32))
    vectors = model.user_vectors(nothing, described)
    assert vectors.any(axis=1).all()
    np.testing.assert_array_equal(vectors, model.cold_user_vectors(attributes[described]))
    assert not np.allclose(model.cold_user_vectors(np.array([[0, 1]])), model.cold_user_vectors(np.array([[1, 1]])))


def test_a_history_of_items_not_learnt_is_read_from_what_is_known_of_them() -> None:
    torch.manual_seed(4)
    model = TwoTower(random_inputs(), CONFIG).eval()
    model.learnt[[3, 4]] = False
    histories = Sequences(np.array([0, 1, 2, 3]), np.array([3, 4, 5], np.int32))
    before = model.user_vectors(histories)
    with torch.no_grad():
        model.user_tower.history.weight[:] += torch.randn(20, 8)  # whatever stands there
    after = model.user_vectors(histories)
    np.testing.assert_allclose(after[:2], before[:2], atol=1e-6)
    assert not np.allclose(after[2], before[2])
    assert not np.allclose(before[0], model.user_vectors(histories, np.array([0, 0, 0]))[1])


def test_users_differ_by_identity_and_an_unknown_one_is_read_from_history_alone(model) -> None:
    twice = Sequences(np.array([0, 3, 6, 9]), np.array([1, 2, 3] * 3, dtype=np.int32))
    known, other, unknown = model.user_vectors(twice, np.array([0, 1, -1]))
    assert not np.allclose(known, other)
    assert not np.allclose(known, unknown)
    np.testing.assert_allclose(unknown, model.user_vectors(twice, np.array([-1, -1, -1]))[0], atol=1e-6)


def test_an_unknown_user_is_not_taken_for_the_first_one() -> None:
    inputs = TowerInputs(np.zeros((3, 0), np.int32), np.zeros((20, 0), np.float32))
    known, unknown = TwoTower(inputs, CONFIG).user_vectors(
        Sequences(np.array([0, 2, 4]), np.array([1, 2, 1, 2], dtype=np.int32)), np.array([0, -1])
    )
    assert not np.allclose(known, unknown)


def test_an_unknown_attribute_is_not_taken_for_the_first_value(model) -> None:
    with torch.no_grad():
        unknown, first = model.user_tower(
            torch.tensor([1, 1]), torch.tensor([[-1, 0], [0, 0]]), torch.ones(2, 1, CONFIG.embedding_size)
        )
    assert not torch.allclose(unknown, first)


def test_only_the_newest_events_of_a_long_history_count(model) -> None:
    newest = Sequences(np.array([0, 5]), np.arange(5, 10, dtype=np.int32))
    longer = Sequences(np.array([0, 10]), np.arange(10, dtype=np.int32))
    np.testing.assert_allclose(model.user_vectors(longer), model.user_vectors(newest), atol=1e-6)


def test_vectors_do_not_depend_on_the_company_in_the_batch(model) -> None:
    together = model.user_vectors(HISTORIES, np.array([4, 5, 2]))
    alone = model.user_vectors(Sequences(np.array([0, 3]), np.arange(3, dtype=np.int32)), np.array([4]))
    np.testing.assert_allclose(together[0], alone[0], atol=1e-6)
    np.testing.assert_allclose(model.user_vectors(HISTORIES, np.array([4, 5, 2]), batch_users=1), together, atol=1e-6)


def test_a_later_event_changes_no_earlier_vector(model) -> None:
    items = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 9]])
    with torch.no_grad():
        first, second = model(torch.tensor([0, 0]), items)
    torch.testing.assert_close(first[:4], second[:4])  # the first is before any event
    assert not torch.allclose(first[4], second[4])


def test_pooling_weighs_an_event_one_half_life_back_by_half(model) -> None:
    vectors = torch.tensor([[[1.0], [0.0], [0.0]]]).expand(1, 3, 8)
    newest, halving = model.user_tower.pool(vectors)
    assert newest[0, :, 0].tolist() == [1, 0, 0]
    weights = [2 ** (-age / 2) for age in range(3)]
    torch.testing.assert_close(
        halving[0, :, 0], torch.tensor([1, weights[1] / sum(weights[:2]), weights[2] / sum(weights)])
    )


def test_a_new_item_has_the_vector_of_its_attributes(model) -> None:
    side = random_inputs().side
    learned, new = model.item_vectors(), model.cold_item_vectors(side)
    np.testing.assert_allclose(learned - new, model.item_tower.identity.weight.detach().numpy(), atol=1e-6)


def test_item_identities_are_dropped_in_training_only(model) -> None:
    torch.manual_seed(3)
    tower = TwoTower(random_inputs(), CONFIG.__class__(item_id_dropout=1.0, embedding_size=8)).item_tower
    rows, side = torch.arange(20), torch.from_numpy(random_inputs().side)
    torch.testing.assert_close(tower.train()(rows, side), tower.side(side))
    assert not torch.allclose(tower.eval()(rows, side), tower.side(side))


def test_inputs_that_cannot_be_are_refused() -> None:
    with pytest.raises(TrainingError, match="below -1"):
        TowerInputs(np.array([[-2]], np.int32), np.zeros((3, 1), np.float32))
    with pytest.raises(TrainingError, match="not finite"):
        TowerInputs(np.array([[0]], np.int32), np.full((3, 1), np.nan, np.float32))


def test_records_become_attributes_by_frequency_and_by_value() -> None:
    items = [
        Item(item_id="a", genres=("Drama", "War"), published_ms=0),
        None,
        Item(item_id="b", genres=("Drama", "Drama"), published_ms=-1),
        Item(item_id="c", published_ms=31_536_000_000 - 1),
    ]
    users = [
        User(user_id="1", attributes={"age": 18, "zip": 1, "same": "x"}),
        None,
        User(user_id="2", attributes={"age": 25}),
    ]
    inputs = tower_inputs(items, users)
    # columns: Drama, War, 1970, 1969
    assert inputs.item_attributes.tolist() == [[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]]
    assert inputs.user_attributes.tolist() == [[0], [-1], [1]]  # only age has two values
    assert inputs.field_sizes == (2,)


def test_an_attribute_with_very_many_values_is_left_out() -> None:
    users = [User(user_id=str(n), attributes={"name": f"n{n}", "kind": n % 2}) for n in range(100)]
    assert tower_inputs([None], users).field_sizes == (2,)


def test_a_world_without_any_attribute_still_has_towers() -> None:
    inputs = tower_inputs([None] * 3, [None] * 2)
    model = TwoTower(inputs, CONFIG)
    assert model.item_vectors().shape == (3, 8)
    assert model.user_vectors(Sequences(np.array([0, 1, 2]), np.array([0, 1], np.int32))).shape == (2, 8)
