"""What may be learned from ends before what is asked about."""

import numpy as np
import pytest

from upnext.domain.event import ACTION_CODE
from upnext.errors import TrainingError
from upnext.training.sequences import Sequences
from upnext.training.splits import Cases, by_time, cases_at, interactions, leave_one_out

SEEDS = range(8)


def histories_as_lists(cases: Cases) -> list[list[int]]:
    return [part.tolist() for part in np.split(cases.histories.items, cases.histories.offsets[1:-1])]


def test_leave_one_out_gives_the_last_to_the_test_and_the_one_before_to_the_ranker(columns_of) -> None:
    columns = columns_of([("u", item, time) for time, item in enumerate("abcd")] + [("v", "a", 9), ("v", "b", 10)])
    split = leave_one_out(columns)
    assert [columns.items[i] for i in columns.item[split.case_events]] == ["d"]
    assert np.flatnonzero(split.ranker).tolist() == [2]
    assert np.flatnonzero(split.train).tolist() == [0, 1, 4, 5]  # v has too few events to be asked about


def test_equal_time_stamps_keep_the_order_of_the_log(columns_of) -> None:
    columns = columns_of([("u", item, 5) for item in "dacb"])
    split = leave_one_out(columns)
    assert [columns.items[i] for i in columns.item[split.case_events]] == ["b"]
    assert histories_as_lists(cases_at(columns, split.case_events)) == [[3, 0, 2]]


def test_only_interactions_with_an_item_are_learned_from_or_asked_about(columns_of) -> None:
    columns = columns_of(
        [
            ("u", "a", 1),
            ("u", "b", 2),
            ("u", "x", 3, "impression"),
            ("u", "c", 4),
            ("u", None, 5, "search"),
            ("u", "x", 6, "dislike"),
            ("u", "x", 7, "hover"),
        ]
    )
    assert interactions(columns).tolist() == [True, True, False, True, False, False, False]
    split = leave_one_out(columns)
    assert (split.case_events.tolist(), np.flatnonzero(split.ranker).tolist()) == ([3], [1])
    assert histories_as_lists(cases_at(columns, split.case_events)) == [[0, 1]]


def test_a_split_by_time_asks_for_each_known_users_first_event_after_the_cut(columns_of) -> None:
    early = [("u", "a", 0), ("v", "b", 50), ("u", "c", 95)]
    columns = columns_of([*early, ("u", "d", 100), ("u", "e", 101), ("new", "a", 102), ("v", "a", 103)])
    split = by_time(columns, cut_ms=100)
    assert split.case_events.tolist() == [3, 6]  # v's and u's first; nothing is known of "new"
    assert histories_as_lists(cases_at(columns, split.case_events)) == [[0, 2], [1]]
    assert cases_at(columns, split.case_events).now_ms.tolist() == [100, 103]


def test_the_rankers_part_is_as_long_as_the_test_but_at_most_a_tenth_of_the_training_period(columns_of) -> None:
    clicks = [("u", "a", time) for time in range(0, 1000, 10)]
    long_test = by_time(columns_of([*clicks, ("u", "b", 1000), ("u", "b", 3000)]), cut_ms=1000)
    assert np.flatnonzero(long_test.ranker).tolist() == list(range(90, 100))
    short_test = by_time(columns_of([*clicks, ("u", "b", 1000), ("u", "b", 1019)]), cut_ms=1000)
    assert np.flatnonzero(short_test.ranker).tolist() == [98, 99]


def test_the_fraction_of_a_split_by_time_is_of_the_interactions(columns_of) -> None:
    columns = columns_of([("u", "a", time) for time in range(100)])
    split = by_time(columns, test_fraction=0.25)
    assert split.case_events.tolist() == [75]
    assert int((split.train | split.ranker).sum()) == 75


@pytest.mark.parametrize("make", [leave_one_out, lambda columns: by_time(columns, test_fraction=0.3)])
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_of_the_test_side_can_be_reached_from_training(make, seed, random_columns) -> None:
    columns = random_columns(seed)
    split = make(columns)
    assert split.n_cases > 0
    assert not (split.train & split.ranker).any()
    assert not (split.train | split.ranker)[split.case_events].any()
    assert interactions(columns)[np.concatenate([np.flatnonzero(split.train | split.ranker), split.case_events])].all()
    for user, event in zip(split.case_users, split.case_events, strict=True):
        learned = np.flatnonzero((split.train | split.ranker) & (columns.user == user))
        assert (learned < event).all()
        assert (columns.timestamp_ms[learned] <= columns.timestamp_ms[event]).all()
        for_ranker = np.flatnonzero(split.ranker & (columns.user == user))
        trained_on = np.flatnonzero(split.train & (columns.user == user))
        assert not len(for_ranker) or (trained_on < for_ranker[0]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_training_event_of_anybody_is_later_than_a_cut_in_time(seed, random_columns) -> None:
    columns = random_columns(seed)
    split = by_time(columns, test_fraction=0.3)
    last_known = columns.timestamp_ms[split.train | split.ranker].max()
    assert last_known < columns.timestamp_ms[split.case_events].min()
    assert columns.timestamp_ms[split.train].max() < columns.timestamp_ms[split.ranker].min()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_is_everything_the_user_chose_before_the_target_and_nothing_else(seed, random_columns) -> None:
    columns = random_columns(seed)
    chosen = interactions(columns)
    events = np.random.default_rng(seed).permutation(np.flatnonzero(chosen))[:50]
    cases = cases_at(columns, events)
    for history, event in zip(histories_as_lists(cases), events, strict=True):
        before = (columns.user == columns.user[event]) & chosen & (np.arange(len(chosen)) < event)
        assert history == columns.item[before].tolist()
    np.testing.assert_array_equal(cases.targets, columns.item[events])
    np.testing.assert_array_equal(cases.users, columns.user[events])


def test_an_event_that_is_no_interaction_cannot_be_a_case(columns_of) -> None:
    columns = columns_of([("u", "a", 1), ("u", "a", 2, "impression")])
    with pytest.raises(TrainingError, match="event 1 is no interaction"):
        cases_at(columns, np.array([0, 1]))


def test_taking_cases_keeps_each_with_its_own_history() -> None:
    histories = Sequences(np.array([0, 2, 2, 5]), np.array([1, 2, 3, 4, 5], dtype=np.int32))
    cases = Cases(np.array([7, 8, 9], np.int32), histories, np.array([1, 2, 3]), np.array([2, 0, 6], np.int32))
    taken = cases.take(np.array([2, 0]))
    assert (taken.users.tolist(), histories_as_lists(taken)) == ([9, 7], [[3, 4, 5], [1, 2]])
    assert cases.new_targets_only().users.tolist() == [8, 9]  # the first case's target is in its own history


def test_a_history_tells_action_time_and_value_of_each_event_and_a_case_its_sequence_number(columns_of) -> None:
    columns = columns_of([("u", "a", 5, "play"), ("v", "b", 6), ("u", "b", 7, "like"), ("u", "c", 9)])
    cases = cases_at(columns, np.array([3, 1]))
    histories = cases.histories
    assert histories.actions is not None
    assert histories.times_ms is not None
    assert histories.values is not None
    assert histories.actions.tolist() == [ACTION_CODE["play"], ACTION_CODE["like"]]
    assert histories.times_ms.tolist() == [5, 7]
    assert np.isnan(histories.values).all()
    assert cases.numbers().tolist() == [4, 2]
    turned = cases.take(np.array([1, 0]))
    assert turned.numbers().tolist() == [2, 4]
    assert turned.histories.times_ms is not None
    assert turned.histories.times_ms.tolist() == [5, 7]


def test_logs_too_small_to_split_say_so(columns_of) -> None:
    with pytest.raises(TrainingError, match="0 cases to test"):
        leave_one_out(columns_of([("u", "a", 1), ("u", "b", 2)]))
    with pytest.raises(TrainingError, match="no interaction"):
        by_time(columns_of([("u", "a", 1, "impression")]))
    with pytest.raises(TrainingError, match="between 0 and 1"):
        by_time(columns_of([("u", "a", 1), ("u", "b", 2)]), test_fraction=1.5)
