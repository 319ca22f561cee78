"""Nothing that the ranker learns from tells what is chosen later."""

import numpy as np

from tests.cli.test_merge import CLICKS, Log, replayed
from upnext.cli.pipeline.lists import ranker_lists
from upnext.features.spec import ITEM
from upnext.settings import RetrievalSettings


def test_lists_have_the_item_side_as_it_was_before_any_of_their_choices() -> None:
    replay = replayed(RetrievalSettings())
    crowd, assembler = replay.funnel.crowd, replay.funnel.assembler
    before = assembler.items(crowd.trends)
    world, chosen = Log(), np.ones(len(CLICKS), bool)
    lists, _ = ranker_lists(world, replay, chosen, chosen, 100, 0, lambda *_: None)
    assert len(lists) > 2
    np.testing.assert_array_equal(lists.item_inputs, before)
    count = assembler.spec.item.index(next(name for name in ITEM if name.startswith("count")))
    assert assembler.items(crowd.trends)[2, count] > before[2, count]  # the crowd has moved on meanwhile
