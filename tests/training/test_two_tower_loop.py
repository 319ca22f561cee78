"""The towers learn planted tastes, and a run can be repeated and taken up again."""

import msgspec
import numpy as np
import pytest
import torch

from upnext.errors import TrainingError
from upnext.models.tower_inputs import TowerInputs
from upnext.models.two_tower import TwoTower, TwoTowerConfig
from upnext.training.sequences import Sequences
from upnext.training.two_tower_loop import _Run, hard_negatives, train_two_tower

N_USERS, N_ITEMS, N_GENRES = 160, 60, 4
CONFIG = TwoTowerConfig(
    embedding_size=16,
    hidden_size=32,
    half_lives=(0.0, 8.0),
    history_length=20,
    epochs=12,
    learning_rate=1e-2,
    batch_events=512,
)


def planted() -> tuple[Sequences, TowerInputs]:
    """Items belong to one of four genres, row modulo four; users choose from their own genre only, at random.

    The genre is an attribute of the item. Of each genre the last item (rows 56 to 59) is never chosen.
    """
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(N_USERS), 15)
    items = rng.integers(0, N_ITEMS // N_GENRES - 1, len(users)) * N_GENRES + users % N_GENRES
    genres = np.eye(N_GENRES, dtype=np.float32)[np.arange(N_ITEMS) % N_GENRES]
    inputs = TowerInputs(np.zeros((N_USERS, 0), np.int32), genres)
    return Sequences.from_events(users, items, N_USERS), inputs


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> TwoTower:
    return train_two_tower(*planted(), CONFIG, seed=1)


def share_of_own_genre(model: TwoTower, items: np.ndarray, users: np.ndarray | None = None) -> float:
    scores = model.user_vectors(planted()[0], users) @ items.T
    best = np.argsort(-scores, axis=1)[:, :10]
    return float((best % N_GENRES == np.arange(N_USERS)[:, None] % N_GENRES).mean())


def test_users_are_shown_their_own_taste(model) -> None:
    assert share_of_own_genre(model, model.item_vectors()) > 0.99


def test_a_user_without_identity_is_shown_the_taste_of_the_history(model) -> None:
    assert share_of_own_genre(model, model.item_vectors(), np.full(N_USERS, -1)) > 0.99


def test_a_new_item_is_shown_to_those_who_like_its_genre(model) -> None:
    new = model.cold_item_vectors(planted()[1].side[-N_GENRES:])
    scores = model.user_vectors(planted()[0]) @ new.T
    assert (scores.argmax(axis=1) == np.arange(N_USERS) % N_GENRES).mean() > 0.99


def test_what_a_user_chose_is_learned_for_that_users_identity(model) -> None:
    identities = model.user_tower.identity.weight.detach().numpy()
    directions = identities / np.linalg.norm(identities, axis=1, keepdims=True)
    same_taste = np.equal.outer(np.arange(N_USERS) % N_GENRES, np.arange(N_USERS) % N_GENRES)
    likeness = directions @ directions.T
    assert likeness[same_taste].mean() > likeness[~same_taste].mean() + 0.15


def test_the_loss_over_very_many_sampled_negatives_is_the_full_loss() -> None:
    rng = np.random.default_rng(0)
    items = (rng.zipf(1.5, 2000) - 1) % N_ITEMS  # popularity far from uniform, so that a wrong correction shows
    sequences = Sequences.from_events(rng.integers(0, N_USERS, 2000), items, N_USERS)
    config = msgspec.structs.replace(CONFIG, full_softmax_items=0, n_negatives=20_000, popularity_share=0.9)
    run = _Run(sequences, planted()[1], config, 1, torch.device("cpu"))
    run.model.eval()
    hidden, targets = torch.randn(50, 16) * 20, torch.arange(50)
    with torch.no_grad():
        sampled, full = run._sampled_loss(hidden, targets), run._full_loss(hidden, targets)
    torch.testing.assert_close(sampled, full, rtol=0.02, atol=0)


def test_sampled_negatives_learn_the_same_taste() -> None:
    config = msgspec.structs.replace(CONFIG, full_softmax_items=10, n_negatives=24)
    sampled = train_two_tower(*planted(), config, seed=1)
    assert share_of_own_genre(sampled, sampled.item_vectors()) > 0.99


def test_one_seed_gives_one_result_and_leaves_the_callers_generator_alone() -> None:
    short = msgspec.structs.replace(CONFIG, epochs=1)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, other, third = (train_two_tower(*planted(), short, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.rand(1), expected)
    assert one.item_vectors().tobytes() == other.item_vectors().tobytes()
    assert not np.allclose(one.item_vectors(), third.item_vectors())


def test_a_run_taken_up_again_ends_like_an_uninterrupted_one(tmp_path) -> None:
    config = msgspec.structs.replace(CONFIG, epochs=3)

    class Interrupted(Exception):
        pass

    def stop(done: int, total: int, line: str) -> None:
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_two_tower(*planted(), config, seed=1, checkpoint=tmp_path / "run.pt", progress=stop)
    lines: list[tuple[int, int]] = []
    resumed = train_two_tower(
        *planted(), config, seed=1, checkpoint=tmp_path / "run.pt", progress=lambda *call: lines.append(call[:2])
    )
    whole = train_two_tower(*planted(), config, seed=1)
    assert lines == [(3, 3)]
    assert resumed.item_vectors().tobytes() == whole.item_vectors().tobytes()
    assert resumed.user_vectors(planted()[0]).tobytes() == whole.user_vectors(planted()[0]).tobytes()


def test_a_checkpoint_of_other_attributes_is_refused(tmp_path) -> None:
    sequences, inputs = planted()
    short = msgspec.structs.replace(CONFIG, epochs=1)
    train_two_tower(sequences, inputs, short, seed=1, checkpoint=tmp_path / "run.pt")
    changed = TowerInputs(inputs.user_attributes, inputs.item_attributes[::-1].copy())
    with pytest.raises(TrainingError, match="other settings, seed or data"):
        train_two_tower(sequences, changed, short, seed=1, checkpoint=tmp_path / "run.pt")


def test_data_that_cannot_be_learned_from_says_so() -> None:
    sequences, inputs = planted()
    with pytest.raises(TrainingError, match="one history per user"):
        train_two_tower(Sequences(np.zeros(2, np.int64), np.zeros(0, np.int32)), inputs, CONFIG, seed=1)
    with pytest.raises(TrainingError, match="no history has two events"):
        train_two_tower(sequences.without_last(14), inputs, CONFIG, seed=1)
    few = TowerInputs(inputs.user_attributes, inputs.item_attributes[:5])
    with pytest.raises(TrainingError, match="outside the 5 items"):
        train_two_tower(sequences, few, CONFIG, seed=1)


def test_a_history_of_new_items_shows_the_taste_of_their_genre(model) -> None:
    new = np.arange(N_ITEMS - N_GENRES, N_ITEMS, dtype=np.int32)  # row modulo four is their genre
    vectors = model.user_vectors(Sequences(np.arange(N_GENRES + 1), new), np.full(N_GENRES, -1))
    best = np.argsort(-vectors @ model.item_vectors().T, axis=1)[:, :10]
    assert (best % N_GENRES == np.arange(N_GENRES)[:, None]).mean() > 0.9


def test_a_user_without_events_is_shown_the_taste_of_others_like_them() -> None:
    sequences, inputs = planted()
    taste = (np.arange(N_USERS) % N_GENRES).astype(np.int32)[:, None]
    model = train_two_tower(sequences, TowerInputs(taste, inputs.item_attributes), CONFIG, seed=1)
    vectors = model.cold_user_vectors(np.arange(N_GENRES)[:, None])
    best = np.argsort(-vectors @ model.item_vectors().T, axis=1)[:, :10]
    assert (best % N_GENRES == np.arange(N_GENRES)[:, None]).mean() > 0.9


def test_hard_negatives_are_what_ranks_high_and_was_not_chosen(model) -> None:
    counts = hard_negatives(model, planted()[0], np.random.default_rng(0))
    assert counts.sum() > 0
    model_of_few = TwoTower(planted()[1], msgspec.structs.replace(CONFIG, hard_users=1, hard_items=3))
    model_of_few.load_state_dict(model.state_dict())
    rng = np.random.default_rng(7)
    counts = hard_negatives(model_of_few, planted()[0], rng)
    user = np.random.default_rng(7).permutation(N_USERS)[0]
    scores = model.user_vectors(planted()[0])[user] @ model.item_vectors().T
    scores[planted()[0].take(np.array([user])).items] = -np.inf
    assert set(np.flatnonzero(counts)) == set(np.argsort(-scores)[:3])


def test_the_loss_with_hard_negatives_is_unbiased_too() -> None:
    config = msgspec.structs.replace(
        CONFIG, full_softmax_items=0, n_negatives=20_000, popularity_share=0.3, hard_negatives=0.5
    )
    run = _Run(*planted(), config, 1, torch.device("cpu"))
    hard = np.zeros(N_ITEMS, np.int64)
    hard[:5] = 7
    run.sampler = run._sampler(hard)
    rows = run.sampler.draw()[0]
    assert (rows < 5).float().mean() == pytest.approx(0.5 + 0.3 * 5 / 56 + 0.2 * 5 / 60, abs=0.02)
    run.model.eval()
    hidden, targets = torch.randn(50, 16) * 20, torch.arange(50)
    with torch.no_grad():
        sampled, full = run._sampled_loss(hidden, targets), run._full_loss(hidden, targets)
    torch.testing.assert_close(sampled, full, rtol=0.02, atol=0)


def test_hard_negatives_learn_the_same_taste() -> None:
    config = msgspec.structs.replace(
        CONFIG, full_softmax_items=10, n_negatives=24, popularity_share=0.3, hard_negatives=0.3
    )
    whole = train_two_tower(*planted(), config, seed=1)
    assert share_of_own_genre(whole, whole.item_vectors()) > 0.99


def test_shares_of_negatives_beyond_all_are_refused() -> None:
    with pytest.raises(TrainingError, match="lower one of them"):
        train_two_tower(*planted(), msgspec.structs.replace(CONFIG, hard_negatives=0.6), seed=1)
