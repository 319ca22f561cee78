"""int8 is chosen for the step only where it is faster and ranks like the encoder."""

import msgspec
import numpy as np
import pytest
import torch

from upnext.compress import step_choice
from upnext.compress.step import session_step_graph
from upnext.compress.step_choice import StepBounds, choose_step
from upnext.models.session import SessionConfig, SessionEncoder, session_encoder
from upnext.release.onnx_session import open_session
from upnext.training.sequences import Sequences

ANY_SPEED = StepBounds(users=32, events=40, max_time_share=1e9, max_ndcg_loss=1.0, min_top_overlap=0.0)


def encoder(kind: str) -> SessionEncoder:
    torch.manual_seed(0)
    made = session_encoder(300, SessionConfig(kind=kind, embedding_size=32)).eval()
    torch.nn.init.normal_(made.embedding.weight)
    return made


def histories() -> Sequences:
    rng = np.random.default_rng(3)
    users = np.sort(rng.integers(0, 50, 1500))
    return Sequences.from_events(users, rng.integers(0, 300, 1500), 51)


@pytest.mark.parametrize("kind", ["gated", "lru", "gru"])
def test_both_graphs_are_walked_and_float32_loses_nothing(kind):
    plain, small = choose_step(encoder(kind), histories(), ANY_SPEED, seed=1).trials
    assert (plain.precision, small.precision) == ("float32", "int8")
    assert plain.n_histories == 32
    assert plain.max_error < 1e-4
    assert plain.ndcg_loss == 0
    assert plain.top_overlap == 1
    assert plain.max_error < small.max_error < 0.5
    assert small.top_overlap > 0.9
    assert small.graph_bytes < 0.6 * plain.graph_bytes


@pytest.mark.parametrize("kind", ["gated", "lru", "gru"])
def test_an_int8_step_does_not_depend_on_who_else_is_in_the_batch(kind):
    chosen = choose_step(encoder(kind), histories(), ANY_SPEED, seed=1)
    assert chosen.precision == "int8"
    session = open_session(chosen.graph)
    rng = np.random.default_rng(0)
    size = session.get_inputs()[0].shape[1]
    feed = {
        "state": rng.normal(size=(5, size)).astype(np.float32),
        "item_vector": rng.normal(size=(5, 32)).astype(np.float32) * np.array([[1], [100], [1], [1], [1]], np.float32),
    }
    whole = session.run(None, feed)
    alone = session.run(None, {name: value[3:4] for name, value in feed.items()})
    for one, other in zip(whole, alone, strict=True):
        assert one[3:4] == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize(
    "bound", [{"max_time_share": 0.0}, {"max_ndcg_loss": -9.0}, {"min_top_overlap": 1.1}], ids=lambda bound: str(bound)
)
def test_float32_stays_where_int8_breaks_a_bound(bound):
    made = encoder("lru")
    chosen = choose_step(made, histories(), msgspec.structs.replace(ANY_SPEED, **bound), seed=1)
    assert chosen.precision == "float32"
    assert chosen.graph == session_step_graph(made)


def test_without_anything_to_judge_on_float32_stays():
    assert choose_step(encoder("lru"), Sequences.from_events([0, 1], [5, 6], 2), StepBounds(), seed=1).trials == []


def test_what_the_event_after_the_history_is_worth_counts(monkeypatch):
    trained = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], np.float32)
    assert step_choice._top_overlap(trained, trained) == 1
    monkeypatch.setattr(step_choice, "TOP", 1)
    assert step_choice._top_overlap(trained, trained[::-1]) == 0
