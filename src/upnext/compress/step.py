"""The session encoder's one step as a graph, and the proof that it equals reading whole histories; trains nothing."""

import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from upnext.errors import ParityError
from upnext.models.session_encoder import SessionEncoder
from upnext.release.onnx_session import open_session

OPSET = 20
MAX_STEP_ERROR = 1e-4


class _Step(nn.Module):
    """`SessionEncoder.step` under the name that tracing calls."""

    def __init__(self, encoder: SessionEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, state: Tensor, item_vector: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.step(state, item_vector)


def session_step_graph(encoder: SessionEncoder) -> bytes:
    """One event for n sessions: `state` (n, S), `item_vector` (n, D) -> `new_state` (n, S), `vector` (n, D), float32.

    The item table is not inside: an item's vector is its row without the bias column. Puts the encoder in evaluation
    mode.
    """
    size = encoder.config.embedding_size
    example = (torch.zeros(2, encoder.state_size), torch.zeros(2, size))
    inputs, outputs = ["state", "item_vector"], ["new_state", "vector"]
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter is deprecated, yet the only one that asks for no further package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            _Step(encoder).eval(),
            example,
            file,  # type: ignore[arg-type]  # any binary file will do, say its docs
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


def check_session_step(
    graph: bytes, encoder: SessionEncoder, *, seed: int, n_histories: int = 32, length: int = 100
) -> float:
    """Walk random histories event by event through the graph and read them at once with the encoder.

    Returns the largest absolute difference of any session vector on the way; raises ParityError above MAX_STEP_ERROR.
    """
    items = np.random.default_rng(seed).integers(0, encoder.n_items, (n_histories, length))
    vectors = encoder.item_vectors()[:, :-1]
    with torch.no_grad():
        expected = encoder.eval()(torch.from_numpy(items)).numpy()
    session = open_session(graph)
    state = np.tile(encoder.initial_state(), (n_histories, 1))
    error = 0.0
    for place in range(length):
        state, found = session.run(None, {"state": state, "item_vector": vectors[items[:, place]]})
        error = max(error, float(np.abs(found - expected[:, place]).max()))
    if not error <= MAX_STEP_ERROR:
        raise ParityError(
            f"after some event of {length} the session step graph differs by {error:.2g} from the encoder, "
            f"at most {MAX_STEP_ERROR:.2g} is allowed; this is a defect of the export, please report it"
        )
    return error
