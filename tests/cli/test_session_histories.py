"""What the session encoder learns from: interactions to be predicted, other events to be read, nothing held out."""

import numpy as np
import pytest

from tests.training.conftest import as_columns
from upnext.catalog.catalog import Catalog
from upnext.cli.pipeline.encoders import histories_of, session_histories
from upnext.cli.pipeline.world import World
from upnext.domain.event import ACTION_CODE, Item
from upnext.domain.identity import keys_of
from upnext.errors import TrainingError
from upnext.training.splits import interactions

EVENTS = [
    ("u", "a", 1_000),
    ("u", "b", 2_000, "hover"),
    ("v", "a", 2_500),
    ("u", "c", 3_000, "play"),
    ("u", None, 3_500, "search"),
    ("u", "a", 4_000, "dislike"),
    ("u", "b", 5_000),
    ("u", "c", 6_000, "hover"),
    ("v", "b", 7_000, "hover"),
]


def small_world() -> World:
    columns = as_columns(EVENTS)
    items = [Item(item_id=item_id) for item_id in columns.items]
    return World(columns, Catalog.build(items), items, [None, None], keys_of(columns.users), 9, 0)


def test_interactions_come_with_their_action_time_and_value():
    world = small_world()
    histories = histories_of(world, interactions(world.columns))
    assert histories.offsets.tolist() == [0, 3, 4]
    assert histories.items.tolist() == [0, 2, 1, 0]
    assert histories.actions.tolist() == [ACTION_CODE[action] for action in ("click", "play", "click", "click")]
    assert histories.gaps_ms().tolist() == [-1, 2_000, 2_000, -1]
    assert np.isnan(histories.values).all()
    assert histories.targets is None


def test_extra_actions_are_read_between_interactions_and_are_no_targets():
    world = small_world()
    histories = session_histories(world, interactions(world.columns), ("dislike", "hover"))
    assert histories.items.tolist() == [0, 1, 2, 0, 1, 0]
    assert histories.targets.tolist() == [True, False, True, False, True, True]
    assert histories.offsets.tolist() == [0, 5, 6]


def test_nothing_after_the_last_event_that_may_be_known_is_read():
    world = small_world()
    early = interactions(world.columns) & (world.columns.timestamp_ms < 5_000)
    histories = session_histories(world, early, ("dislike", "hover"))
    assert histories.items.tolist() == [0, 1, 2, 0]


def test_a_search_without_an_item_is_left_out_and_so_is_all_that_was_not_asked_for():
    world = small_world()
    some = interactions(world.columns)
    assert session_histories(world, some, ("search",)).items.tolist() == histories_of(world, some).items.tolist()
    assert session_histories(world, some, ()).targets is None


def test_an_action_that_does_not_exist_is_said():
    world = small_world()
    with pytest.raises(TrainingError, match="names hovver, which is no action"):
        session_histories(world, interactions(world.columns), ("hovver",))
