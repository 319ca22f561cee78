"""Training learns what can be known, repeats itself, and survives being interrupted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from upnext.errors import TrainingError
from upnext.models.session import SessionConfig, SessionEncoder
from upnext.training.checkpoint import read_checkpoint, write_checkpoint
from upnext.training.sequences import Sequences
from upnext.training.session_loop import load_session, one_cycle, train_session

N_ITEMS = 12


def ring_world(seed: int = 0) -> Sequences:
    """Every user walks around a ring of items, some forwards, some backwards: two events tell what comes next."""
    rng = np.random.default_rng(seed)
    walks = [(rng.integers(N_ITEMS) + rng.choice([-1, 1]) * np.arange(n)) % N_ITEMS for n in rng.integers(2, 30, 150)]
    users = np.repeat(np.arange(150), [len(walk) for walk in walks])
    return Sequences.from_events(users, np.concatenate(walks), 150)


def settings(**changes) -> SessionConfig:
    small = {
        "embedding_size": 16,
        "n_blocks": 1,
        "dropout": 0.1,
        "history_length": 10,
        "batch_events": 256,
        "epochs": 3,
    }
    return SessionConfig(**(small | changes))


def weights(encoder: SessionEncoder) -> bytes:
    return b"".join(value.numpy().tobytes() for value in encoder.state_dict().values())


@pytest.mark.parametrize(
    "changes", [{"kind": "gated"}, {"kind": "lru"}, {"kind": "gru"}, {"full_softmax_items": 0, "n_negatives": 8}]
)
def test_the_next_item_of_a_walk_is_learned(changes):
    encoder = train_session(ring_world(), N_ITEMS, settings(epochs=30, learning_rate=1e-2, **changes), seed=1)
    walks = Sequences.from_events([0, 0, 0, 1, 1, 1, 2, 2], [3, 4, 5, 3, 2, 1, 11, 0], n_users=3)
    vectors = np.hstack([encoder.encode(walks)[0], np.ones((3, 1))])
    assert (vectors @ encoder.item_vectors().T).argmax(1).tolist() == [6, 0, 1]


@pytest.mark.parametrize(
    "changes", [{}, {"kind": "gated"}, {"kind": "gru"}, {"full_softmax_items": 0, "n_negatives": 8}]
)
def test_one_seed_gives_identical_weights_and_another_does_not(changes):
    runs = [weights(train_session(ring_world(), N_ITEMS, settings(**changes), seed=seed)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_an_interrupted_run_taken_up_again_ends_with_the_same_weights(tmp_path):
    told = []

    def pull_the_plug(epoch, epochs, message):
        told.append(epoch)
        if epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "session.pt"
    config = settings(epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train_session(ring_world(), N_ITEMS, config, seed=1, checkpoint=path, progress=pull_the_plug)
    torch.manual_seed(99)  # a new process would not know the old one's generator
    resumed = train_session(
        ring_world(), N_ITEMS, config, seed=1, checkpoint=path, progress=lambda epoch, *_: told.append(epoch)
    )
    assert told == [1, 2, 3, 4]
    assert weights(resumed) == weights(train_session(ring_world(), N_ITEMS, config, seed=1))


def test_a_finished_checkpoint_holds_the_encoder_and_is_not_trained_again(tmp_path):
    path = tmp_path / "session.pt"
    trained = train_session(ring_world(), N_ITEMS, settings(), seed=1, checkpoint=path)
    assert weights(load_session(path)) == weights(trained)
    again = train_session(
        ring_world(), N_ITEMS, settings(), seed=1, checkpoint=path, progress=lambda *_: pytest.fail("trained again")
    )
    assert weights(again) == weights(trained)


def test_an_encoder_of_a_version_with_other_parts_is_refused(tmp_path):
    path = tmp_path / "session.pt"
    train_session(ring_world(), N_ITEMS, settings(epochs=1), seed=1, checkpoint=path)
    record = read_checkpoint(path, None)
    del record["encoder"]["tables.actions.weight"]
    write_checkpoint(path, "a", record)
    with pytest.raises(TrainingError, match="of another version; train a new release"):
        load_session(path)


@pytest.mark.parametrize("change", ["seed", "config", "data"])
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change):
    path = tmp_path / "session.pt"
    train_session(ring_world(), N_ITEMS, settings(epochs=1), seed=1, checkpoint=path)
    data, config, seed = ring_world(change == "data"), settings(epochs=1 + (change == "config")), 1 + (change == "seed")
    with pytest.raises(TrainingError, match="other settings, seed or data"):
        train_session(data, N_ITEMS, config, seed=seed, checkpoint=path)


def told_world(seed: int = 0) -> Sequences:
    """Every user walks around a ring; the value of each event says which way the next step goes, nothing else does."""
    rng = np.random.default_rng(seed)
    values = rng.choice(np.array([-1, 1], np.float32), (200, 20))
    walks = (rng.integers(N_ITEMS, size=(200, 1)) + np.cumsum(values, axis=1) - values).astype(int) % N_ITEMS
    return Sequences.from_events(np.repeat(np.arange(200), 20), walks.ravel(), 200, values=values.ravel())


@pytest.mark.parametrize("kind", ["gated", "lru", "gru"])
def test_what_the_value_of_an_event_foretells_is_learned(kind):
    encoder = train_session(told_world(), N_ITEMS, settings(kind=kind, epochs=20, learning_rate=1e-2), seed=1)
    walks = Sequences.from_events([0, 1], [3, 3], n_users=2, values=np.array([1, -1], np.float32))
    vectors = np.hstack([encoder.encode(walks)[0], np.ones((2, 1))])
    assert (vectors @ encoder.item_vectors().T).argmax(1).tolist() == [4, 2]
    tables = encoder.input_tables()
    assert tables.values is not None
    assert tables.actions is tables.gaps is None


def test_tables_and_edges_come_back_with_a_checkpoint(tmp_path):
    path = tmp_path / "session.pt"
    trained = train_session(told_world(), N_ITEMS, settings(), seed=1, checkpoint=path).input_tables()
    loaded = load_session(path).input_tables()
    assert loaded.value_edges.tolist() == trained.value_edges.tolist() == [1]
    np.testing.assert_array_equal(loaded.values, trained.values)


def test_events_that_are_no_targets_are_read_and_not_predicted():
    odd = np.arange(len(ring_world().items)) % 2 == 1
    noisy = replace(ring_world(), items=np.where(odd, N_ITEMS, ring_world().items).astype(np.int32))
    config = settings(epochs=5, learning_rate=1e-2)
    predicted = train_session(noisy, N_ITEMS + 1, config, seed=1)
    only_read = train_session(replace(noisy, targets=~odd), N_ITEMS + 1, config, seed=1)
    assert predicted.bias.argmax() == N_ITEMS
    assert only_read.bias.argmin() == N_ITEMS


def test_training_does_not_touch_the_callers_generator():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_session(ring_world(), N_ITEMS, settings(epochs=1), seed=1)
    assert torch.equal(torch.rand(1), expected)


def test_nothing_to_predict_and_unknown_items_are_said_before_training():
    with pytest.raises(TrainingError, match="nothing to predict"):
        train_session(Sequences.from_events([0, 1], [1, 1], 2), N_ITEMS, settings(), seed=1)
    with pytest.raises(TrainingError, match="outside the 12 items"):
        train_session(Sequences.from_events([0, 0], [1, 12], 1), N_ITEMS, settings(), seed=1)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = [one_cycle(progress) for progress in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == rates[10] == pytest.approx(1)
    assert rates[100] == pytest.approx(0)
    assert np.all(np.diff(rates[:11]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
