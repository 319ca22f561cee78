"""What one event is to a session encoder."""

from typing import get_args

import numpy as np
import pytest

from upnext.domain.event import ACTION_CODE, ACTIONS, HINTS, INTERACTIONS
from upnext.settings import Settings, StateSettings, StepAction, load_settings
from upnext.state.step_input import Remembered, StepInput, weight_of

CODES = [ACTION_CODE[action] for action in ("click", "view", "play")]


def remembered(n_interactions: int = 3, times_ms: tuple[int, ...] = (1_000, 5_000, 4_000)) -> Remembered:
    return Remembered(
        n_interactions,
        np.array([7, 8, 9], np.uint64),
        np.array(times_ms, np.int64),
        np.array(CODES, np.uint8),
        np.array([1.5, np.nan, 3], np.float32),
    )


def test_choosing_is_a_whole_step_hovering_a_quarter_and_what_is_no_move_none() -> None:
    weights = {action: weight_of(action, StateSettings()) for action in ACTIONS}
    assert {action for action, weight in weights.items() if weight == 1.0} == INTERACTIONS
    assert (weights["hover"], weights["search"], weights["dislike"]) == (0.25, 0.5, -0.5)
    assert {action for action, weight in weights.items() if weight} == INTERACTIONS | HINTS


def test_the_setting_changes_what_it_names_and_no_other() -> None:
    settings = load_settings(overrides=["state.action_weights={hover = 0.0, view = 0.5}"]).state
    assert [weight_of(action, settings) for action in ("hover", "view", "search", "click")] == [0.0, 0.5, 0.5, 1.0]
    assert set(get_args(StepAction)) == INTERACTIONS | HINTS


@pytest.mark.parametrize("weights", ["{hoover = 0.1}", "{impression = 0.1}", "{hover = 1.5}", "{dislike = -2.0}"])
def test_a_weight_of_no_action_or_out_of_range_stops_the_start(weights: str) -> None:
    with pytest.raises(Exception, match="a setting has a wrong value"):
        load_settings(overrides=[f"state.action_weights={weights}"])


def test_interactions_are_remembered_with_all_that_a_step_reads() -> None:
    steps = remembered().steps(3, Settings().state)
    assert [step.item_key for step in steps] == [7, 8, 9]
    assert [step.action for step in steps] == CODES
    assert [step.gap_ms for step in steps] == [-1, 4_000, 0], "none before the first; the last came late"
    assert steps[0].value == 1.5
    assert np.isnan(steps[1].value)
    assert [step.weight for step in steps] == [1.0, 1.0, 1.0]


def test_of_the_newest_only_the_one_before_them_tells_how_long_ago_it_was() -> None:
    assert repr(remembered().steps(2, Settings().state)) == repr(remembered().steps(3, Settings().state)[1:])
    assert remembered().steps(0, Settings().state) == []


def test_the_strings_of_a_packed_state_are_the_same_interactions() -> None:
    n, *arrays = remembered()
    packed = Remembered(n, *(array.tobytes() for array in arrays))  # type: ignore[union-attr]
    settings = StateSettings(action_weights={"view": 0.5})
    found, expected = packed.steps(3, settings), remembered().steps(3, settings)
    assert [repr(step) for step in found] == [repr(step) for step in expected]
    assert found[1].weight == 0.5
    assert packed.n_kept == remembered().n_kept == 3


def test_of_an_event_of_which_nothing_is_known_a_whole_step_is_taken() -> None:
    one = StepInput(5)
    assert (one.gap_ms, one.weight, one.query) == (-1, 1.0, "")
    assert np.isnan(one.value)
    assert one.action not in ACTION_CODE.values()
