"""Lists that do not fit together are refused before anything is learned from them."""

import msgspec
import numpy as np
import pytest

from tests.models.planted_lists import planted_lists
from upnext.errors import SettingsError, TrainingError
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_lists import RankerLists


def parts(lists: RankerLists) -> dict[str, np.ndarray]:
    return {name: getattr(lists, name).copy() for name in lists.__slots__}


def test_taken_lists_keep_their_parts_together():
    lists = planted_lists(n_lists=5)
    taken = lists.take(np.array([3, 1]))
    assert len(taken) == 2
    assert np.array_equal(taken.rows[1], lists.rows[1])
    assert np.array_equal(taken.cross[0], lists.cross[3])
    assert taken.target.tolist() == [lists.target[3], lists.target[1]]


@pytest.mark.parametrize("missing", ["user", "cross", "target"])
def test_parts_of_different_requests_are_refused(missing):
    broken = parts(planted_lists(n_lists=5))
    broken[missing] = broken[missing][:4]
    with pytest.raises(TrainingError, match="differ in number"):
        RankerLists(**broken)


def test_a_target_that_is_padding_is_refused():
    broken = parts(planted_lists(n_lists=5))
    broken["rows"][2, broken["target"][2]] = -1
    with pytest.raises(TrainingError, match="target lies outside"):
        RankerLists(**broken)


def test_a_target_past_the_end_is_refused():
    broken = parts(planted_lists(n_lists=5, n_candidates=10))
    broken["target"][4] = 10
    with pytest.raises(TrainingError, match="target lies outside"):
        RankerLists(**broken)


def test_an_item_row_outside_the_catalogue_is_refused():
    broken = parts(planted_lists(n_lists=5))
    broken["rows"][0, 0] = 500
    with pytest.raises(TrainingError, match="item row 500"):
        RankerLists(**broken)


@pytest.mark.parametrize(("name", "value"), [("item_inputs", np.nan), ("user", np.inf), ("cross", np.nan)])
def test_a_value_that_is_not_finite_is_refused_with_its_column(name, value):
    broken = parts(planted_lists(n_lists=5))
    broken[name][..., 2].flat[-1] = value
    with pytest.raises(TrainingError, match=f"column 2 of {name}"):
        RankerLists(**broken)


@pytest.mark.parametrize(
    "changes",
    [
        {"exits": (5, 3, 8)},
        {"exits": ()},
        {"exits": (0, 8)},
        {"exits": (3, 5)},
        {"held_out_share": 1.0},
        {"sampled_candidates": 1},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes):
    with pytest.raises(SettingsError):
        RankerConfig(**changes)


def test_settings_survive_json():
    config = RankerConfig(hidden=(32, 16), exits=(1, 2), prior_column=4)
    assert msgspec.json.decode(msgspec.json.encode(config), type=RankerConfig) == config
