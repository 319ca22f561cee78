"""The exported step walks histories to where the encoder arrives at once."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from upnext.compress.step import check_session_step, session_step_graph
from upnext.errors import ParityError
from upnext.models.session import SessionConfig, SessionEncoder, session_encoder
from upnext.release.onnx_session import open_session


def encoder(kind: str) -> SessionEncoder:
    torch.manual_seed(0)
    made = session_encoder(50, SessionConfig(kind=kind, embedding_size=16, dropout=0.5))
    torch.nn.init.normal_(made.embedding.weight)
    return made


@pytest.mark.parametrize("kind", ["gated", "lru", "gru"])
def test_walking_event_by_event_equals_reading_at_once(kind):
    made = encoder(kind)
    assert check_session_step(session_step_graph(made), made, seed=1, n_histories=8, length=60) < 1e-4


@pytest.mark.parametrize("kind", ["gated", "lru", "gru"])
def test_a_step_does_not_depend_on_who_else_is_in_the_batch(kind):
    made = encoder(kind)
    session = open_session(session_step_graph(made))
    rng = np.random.default_rng(0)
    state = rng.normal(size=(5, made.state_size)).astype(np.float32)
    vector = made.item_vectors()[:5, :-1]
    whole = session.run(["new_state", "vector"], {"state": state, "item_vector": vector})
    alone = session.run(["new_state", "vector"], {"state": state[3:4], "item_vector": vector[3:4]})
    assert whole[0][3:4] == pytest.approx(alone[0], abs=1e-5)
    assert whole[1][3:4] == pytest.approx(alone[1], abs=1e-5)


def test_a_graph_with_one_altered_weight_is_refused():
    made = encoder("lru")
    graph = onnx.load_from_string(session_step_graph(made))
    bias = next(c for c in graph.graph.initializer if c.name.endswith("enter.bias"))
    changed = numpy_helper.to_array(bias).copy()
    changed[3] += 0.05
    bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
    with pytest.raises(ParityError, match="session step graph differs by"):
        check_session_step(graph.SerializeToString(), made, seed=1, n_histories=4, length=20)
