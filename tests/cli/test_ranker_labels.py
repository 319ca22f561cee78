"""Labels say what became of a choice, as far as the split lets anybody know."""

import numpy as np
import pytest

from upnext.cli.pipeline.ranker_labels import may_be_known, task_labels
from upnext.domain.event import ACTION_CODE
from upnext.ingest.columns import EventColumns
from upnext.training.splits import Split

NAN = float("nan")


def columns(*events: tuple[int, int, str, float]) -> EventColumns:
    """Events of (user, item, action, value), in the order of time."""
    n = len(events)
    return EventColumns(
        user=np.array([each[0] for each in events], np.int32),
        item=np.array([each[1] for each in events], np.int32),
        action=np.array([ACTION_CODE[each[2]] for each in events], np.uint8),
        timestamp_ms=np.arange(n, dtype=np.int64) * 1_000,
        session=np.zeros(n, np.uint64),
        value=np.array([each[3] for each in events], np.float32),
        seq=np.arange(n, dtype=np.int64),
        users=["u:0", "u:1"],
        items=["a", "b", "c"],
    )


def labels(log: EventColumns, *events: int, known: list[bool] | None = None) -> list[list[float | None]]:
    """(complete, like, dislike) of each event; None for not known."""
    found = task_labels(log, np.array(events), np.ones(len(log), bool) if known is None else np.array(known))
    return [[None if np.isnan(each) else float(each) for each in row] for row in found]


def test_an_action_on_the_same_item_by_the_same_user_afterwards_counts():
    log = columns((0, 0, "play", NAN), (0, 1, "play", NAN), (1, 0, "play", NAN), (0, 0, "complete", NAN),
                  (0, 1, "dislike", NAN), (1, 2, "like", NAN))  # fmt: skip
    assert labels(log, 0, 1, 2, 5) == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_what_came_before_the_choice_does_not_count():
    log = columns((0, 0, "like", NAN), (0, 0, "play", NAN))
    assert labels(log, 1) == [[None, 0, None]]


def test_an_action_that_nobody_ever_does_is_not_known_rather_than_absent():
    assert labels(columns((0, 0, "click", NAN), (1, 1, "like", NAN)), 0) == [[None, 0, None]]


@pytest.mark.parametrize(("stars", "like", "dislike"), [(5, 1, 0), (4, 1, 0), (3.5, 0, 0), (2, 0, 1), (0.5, 0, 1)])
def test_stars_are_likes_and_dislikes(stars, like, dislike):
    assert labels(columns((0, 0, "play", stars), (1, 0, "play", 3)), 0) == [[None, like, dislike]]


def test_values_that_are_no_stars_say_nothing():
    assert labels(columns((0, 0, "play", 4.0), (1, 0, "play", 131.0)), 0) == [[None, None, None]]


def test_a_play_without_stars_among_rated_ones_says_nothing():
    assert labels(columns((0, 0, "play", 5.0), (1, 0, "play", NAN)), 1) == [[None, None, None]]


def test_what_may_not_be_known_is_not_looked_at():
    log = columns((0, 0, "play", NAN), (1, 1, "like", NAN), (0, 0, "like", NAN))
    assert labels(log, 0)[0][1] == 1
    assert labels(log, 0, known=[True, True, False])[0][1] == 0


def split(name: str, train: list[int], ranker: list[int], cases: list[int], log: EventColumns) -> Split:
    def mask(events: list[int]) -> np.ndarray:
        return np.isin(np.arange(len(log)), events)

    at = np.array(cases)
    return Split(name, mask(train), mask(ranker), log.user[at], at)


LOG = columns((0, 0, "play", NAN), (1, 0, "play", NAN), (0, 1, "play", NAN), (0, 2, "play", NAN),
              (1, 1, "play", NAN), (0, 1, "dislike", NAN), (1, 1, "like", NAN))  # fmt: skip


def test_of_each_user_what_comes_before_their_case_may_be_known():
    known = may_be_known(LOG, split("leave_one_out", [0], [2], [3], LOG))
    assert known.tolist() == [True, True, True, False, True, False, True]


def test_a_split_by_time_hides_what_comes_after_the_first_case_of_anybody():
    known = may_be_known(LOG, split("by_time", [0, 1], [2], [3], LOG))
    assert known.tolist() == [True, True, True, False, False, False, False]


def test_all_may_be_known_where_the_ranker_learns_from_the_cases():
    assert may_be_known(LOG, split("leave_one_out", [0, 1], [2, 3], [3], LOG)).all()
