"""The exported session encoder, stepped by item."""

from types import SimpleNamespace

import numpy as np

from tests.features import world
from upnext.domain.identity import key_of
from upnext.features.session_stepper import GraphStepper


class AddingGraph:
    """Adds the item's vector to the state and returns twice the sum; its inputs are not in the usual order."""

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="item_vector", shape=["n", 2]), SimpleNamespace(name="state", shape=["n", 2])]

    def run(self, outputs: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert {name: (array.dtype.name, array.shape) for name, array in feed.items()} == {
            "state": ("float32", (1, 2)), "item_vector": ("float32", (1, 2)),
        }  # fmt: skip
        assert feed["item_vector"].flags.c_contiguous
        state = feed["state"] + feed["item_vector"]
        return [state, 2 * state]


def stepper() -> GraphStepper:
    session = world.vectors().session
    assert session is not None
    return GraphStepper(AddingGraph(), session, world.catalog(), "enc")  # type: ignore[arg-type]


def test_a_user_without_history_starts_from_zeros() -> None:
    stepped = stepper().step(np.empty(0, np.float32), key_of("i2"))
    assert stepped is not None
    assert [array.tolist() for array in stepped] == [[3, 4], [6, 8]]


def test_a_step_goes_on_from_the_state_before_without_the_bias() -> None:
    stepped = stepper().step(np.array([10, 20], np.float32), key_of("i0"))
    assert stepped is not None
    assert [array.tolist() for array in stepped] == [[11, 20], [22, 40]]
    by_row = stepper().step_row(np.array([10, 20], np.float32), 0)
    assert by_row is not None
    assert by_row[0].tolist() == [11, 20]


def test_over_items_that_the_encoder_does_not_know_there_is_no_step() -> None:
    assert stepper().step(np.empty(0, np.float32), key_of("elsewhere")) is None
    assert stepper().step(np.empty(0, np.float32), key_of("i7")) is None, "in the catalogue, but not learnt"
