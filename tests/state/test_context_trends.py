"""What is chosen under the same circumstances: shares by value of each name, in bounded memory."""

import numpy as np
import pytest

from tests.state.kept_arrays import KeptArrays
from upnext.domain.identity import context_keys, key_of
from upnext.settings import HOUR_MS, TrendSettings
from upnext.state.context_trends import NOTHING, ContextTrends, completed

NOW_MS = 1_700_000_000_000
NAMES = ("device", "region")
PHONE_NORTH, PHONE_SOUTH, TV = (1, 11), (1, 12), (2, 0)


def counted(*choices: tuple[tuple[int, ...], int, float], n_items: int = 10, **settings: object) -> ContextTrends:
    """Choices of (context, row, hours after now)."""
    trends = ContextTrends(n_items, TrendSettings(contexts=NAMES, **settings))
    for context, row, hours in choices:
        trends.observe(context, row, NOW_MS + int(hours * HOUR_MS))
    return trends


def test_shares_are_those_of_each_value_alone_and_of_all() -> None:
    trends = counted((PHONE_NORTH, 0, 0), (PHONE_NORTH, 1, 0), (PHONE_SOUTH, 1, 0), (TV, 2, 0), (NOTHING, 2, 0))
    rows = np.array([0, 1, 2, 3])
    every, by_device, by_region = trends.shares(PHONE_SOUTH, rows).tolist()
    assert every == pytest.approx([1 / 5, 2 / 5, 2 / 5, 0])
    assert by_device == pytest.approx([1 / 3, 2 / 3, 0, 0])
    assert by_region == [0, 1, 0, 0]
    assert trends.shares(TV, rows)[2].tolist() == [0, 0, 0, 0]  # nothing is known of its region
    assert trends.shares((7, 7), rows)[1:].tolist() == [[0, 0, 0, 0]] * 2


def test_the_top_adds_up_the_shares_of_all_names_and_ties_go_to_the_lower_row() -> None:
    trends = counted(*[(PHONE_NORTH, 4, 0)] * 2, (PHONE_SOUTH, 3, 0), (PHONE_SOUTH, 5, 0), (TV, 6, 0))
    # phone: 4 has 2/4, 3 and 5 have 1/4 each; south: 3 and 5 have 1/2 each
    assert trends.top(PHONE_SOUTH, 10).tolist() == [3, 5, 4]
    assert trends.top(PHONE_SOUTH, 1).tolist() == [3]
    assert trends.top(TV, 10).tolist() == [6]
    assert trends.top(NOTHING, 10).tolist() == trends.top((9, 9), 10).tolist() == []


def test_an_hour_halves_what_was_chosen_before_and_a_long_time_leaves_nothing() -> None:
    trends = counted(*[(TV, 0, 0)] * 4, (TV, 1, 1))
    assert trends.shares(TV, np.array([0, 1]))[1].tolist() == pytest.approx([2 / 3, 1 / 3])
    trends.observe(TV, 1, NOW_MS + 500 * HOUR_MS)
    assert trends.shares(TV, np.array([0, 1]))[1].tolist() == [0, 1]


def test_past_the_most_values_of_a_name_others_are_not_told_apart() -> None:
    trends = counted(((1, 0), 0, 0), ((2, 0), 1, 0), ((3, 5), 2, 0), context_values=2)
    assert trends.shares((3, 5), np.array([2]))[:, 0].tolist() == pytest.approx([1 / 3, 0, 1])
    assert trends.shares((2, 0), np.array([1]))[1].tolist() == [1]


def test_past_the_most_items_one_chosen_little_makes_way() -> None:
    often = [(TV, row, 0) for row in range(6) for _ in range(3)]
    trends = counted(*often[:-2], (TV, 7, 1), n_items=20, context_items=6)
    rows = np.arange(20)
    left = np.flatnonzero(trends.shares(TV, rows)[1]).tolist()
    assert left == [0, 1, 2, 3, 4, 7]  # 5 was chosen once, the others three times
    assert trends.shares(TV, rows)[1].sum() < 1  # what made way still counts in the whole


@pytest.mark.parametrize("moved", [False, True])
def test_what_is_saved_goes_on_where_it_was(moved: bool) -> None:
    trends, kept = counted((PHONE_NORTH, 0, 0), (PHONE_SOUTH, 1, 0), (TV, 2, 0.5)), KeptArrays()
    trends.save(kept.add_array)
    other = ContextTrends(10, TrendSettings(contexts=NAMES))
    rows = np.array([5, 6, -1, 3, 4, 7, 8, 9, 0, 1], np.int32) if moved else None
    other.load(kept.array, rows)
    for each in (trends, other):
        each.observe(PHONE_NORTH, 6 if moved and each is other else 1, NOW_MS + HOUR_MS)
    before = trends.shares(PHONE_NORTH, np.arange(3))
    after = other.shares(PHONE_NORTH, np.array([5, 6, 2]) if moved else np.arange(3))
    np.testing.assert_allclose(after[:, :2], before[:, :2], rtol=1e-6)
    assert after[:, 2].tolist() == ([0, 0, 0] if moved else before[:, 2].tolist())


def test_counts_by_other_names_are_left_out() -> None:
    kept = KeptArrays()
    counted((PHONE_NORTH, 0, 0)).save(kept.add_array)
    other = ContextTrends(10, TrendSettings(contexts=("region", "device")))
    other.load(kept.array)
    assert other.top(PHONE_NORTH, 5).tolist() == []


def test_keys_are_of_name_and_value_and_what_is_told_comes_before_what_was() -> None:
    keys = context_keys(NAMES, {"device": "tv", "region": 7, "more": 1})
    assert keys == (key_of("device=tv"), key_of("region=7"))
    assert context_keys(NAMES, {"device": None, "region": ["list"]}) == (0, 0)
    trends = ContextTrends(3, TrendSettings(contexts=NAMES))
    assert trends.context_of({"device": ""}) == trends.context_of({}) == NOTHING
    assert completed((5, 0), (1, 2)) == (5, 2)
    assert completed(NOTHING, (1, 2)) == (1, 2)
    assert completed((5, 0), NOTHING) == (5, 0)


def test_without_names_nothing_is_counted() -> None:
    trends = ContextTrends(3, TrendSettings(contexts=()))
    trends.observe(NOTHING, 1, NOW_MS)
    assert trends.context_of({"device": "tv"}) == NOTHING
    assert trends.top(NOTHING, 3).tolist() == []
    assert trends.shares(NOTHING, np.array([1])).tolist() == [[0]]
