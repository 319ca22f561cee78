"""Lists that do not fit together are refused before anything is learned from them."""

import msgspec
import numpy as np
import pytest

from tests.models.planted_lists import planted_lists
from upnext.errors import SettingsError, TrainingError
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_lists import RankerLists


def parts(lists: RankerLists) -> dict[str, np.ndarray]:
    return {name: getattr(lists, name).copy() for name in ("item_inputs", "user", "rows", "cross", "target")}


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


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({"tasks": np.zeros((5, 2), np.float32)}, r"must be of shape \(5, 3\)"),
        ({"tasks": np.full((5, 3), 0.5, np.float32)}, "neither 0, 1 nor NaN"),
        ({"weights": np.ones(4, np.float32)}, "weights of 5 lists"),
        ({"weights": -np.ones(5, np.float32)}, "0 or more"),
    ],
)
def test_labels_and_weights_that_cannot_be_are_refused(labels, complaint):
    with pytest.raises(TrainingError, match=complaint):
        RankerLists(**parts(planted_lists(n_lists=5)), **labels)


def test_labels_and_weights_stay_with_their_lists():
    tasks = np.array([[number % 2, np.nan, 1] for number in range(5)], np.float32)
    weights = np.arange(5, dtype=np.float32)
    taken = RankerLists(**parts(planted_lists(n_lists=5)), tasks=tasks, weights=weights).take(np.array([3, 1]))
    assert np.array_equal(taken.tasks, tasks[[3, 1]], equal_nan=True)
    assert taken.weights.tolist() == [3, 1]
    bare = planted_lists(n_lists=5)
    assert np.isnan(bare.labels()).all()
    assert bare.counts().tolist() == [1] * 5
