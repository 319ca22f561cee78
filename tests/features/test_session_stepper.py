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
        n = len(feed["state"])
        assert {name: (array.dtype.name, array.shape) for name, array in feed.items()} == {
            "state": ("float32", (n, 2)), "item_vector": ("float32", (n, 2)),
        }  # fmt: skip
        assert feed["item_vector"].flags.c_contiguous
        state = feed["state"] + feed["item_vector"]
        return [state, 2 * state]


def stepper() -> GraphStepper:
    session = world.vectors().session
    assert session is not None
    return GraphStepper(AddingGraph(), session, world.catalog(), "enc")  # type: ignore[arg-type]


NOBODY = np.empty(0, np.float32)


def lists(step: tuple[np.ndarray, np.ndarray] | None) -> list[list[float]] | None:
    return step and [array.tolist() for array in step]


def test_a_user_without_history_starts_from_zeros() -> None:
    (step,) = stepper().step([NOBODY], [key_of("i2")])
    assert lists(step) == [[3, 4], [6, 8]]


def test_a_step_goes_on_from_the_state_before_without_the_bias() -> None:
    (step,) = stepper().step([np.array([10, 20], np.float32)], [key_of("i0")])
    assert lists(step) == [[11, 20], [22, 40]]
    (by_row,) = stepper().step_rows([np.array([10, 20], np.float32)], np.array([0], np.int32))
    assert lists(by_row) == [[11, 20], [22, 40]]


def test_over_items_that_the_encoder_does_not_know_there_is_no_step() -> None:
    assert stepper().step([NOBODY], [key_of("elsewhere")]) == [None]
    assert stepper().step([NOBODY], [key_of("i7")]) == [None], "in the catalogue, but not learnt"


def test_many_users_step_at_once_each_over_their_own_item() -> None:
    hidden = [np.array([10, 20], np.float32), NOBODY, NOBODY, np.array([1, 1], np.float32)]
    steps = stepper().step(hidden, [key_of("i0"), key_of("elsewhere"), key_of("i2"), key_of("i0")])
    assert [lists(step) for step in steps] == [[[11, 20], [22, 40]], None, [[3, 4], [6, 8]], [[2, 1], [4, 2]]]
