"""The replay asks before it tells, and counting systems count exactly."""

import numpy as np
import pytest

from upnext.domain.event import Event
from upnext.errors import TrainingError
from upnext.training.stream import replay, sessions_ending_in
from upnext.training.stream_counts import WINDOW_MS, Popular60Min, StreamCovisit


class Recorder:
    """Writes down what it is told and asked, and answers with nothing."""

    name = "recorder"

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def warm(self, mask: np.ndarray) -> None:
        self.calls.append(("warm", np.flatnonzero(mask).tolist()))

    def observe(self, i: int) -> None:
        self.calls.append(("observe", i))

    def rank(self, i: int, k: int) -> np.ndarray:
        self.calls.append(("rank", i))
        return np.zeros(0, np.int32)


class Oracle(Recorder):
    """Knows the answers: every event's item second, after one that is always wrong."""

    name = "oracle"

    def __init__(self, columns) -> None:
        super().__init__()
        self.columns = columns

    def rank(self, i: int, k: int) -> np.ndarray:
        return np.array([99, self.columns.item[i]], np.int32)


def everything(columns) -> np.ndarray:
    return np.ones(len(columns.item), dtype=bool)


def test_each_click_but_a_sessions_first_is_asked_before_it_is_told(columns_of) -> None:
    columns = columns_of(
        [("u", "a", 1, "click", 7), ("v", "a", 2, "click", 8), ("u", "b", 3, "click", 7), ("v", "c", 4, "click", 8)]
    )
    recorder = Recorder()
    replay(columns, 2, everything(columns), [recorder])
    assert recorder.calls == [
        ("warm", [0]), ("observe", 1), ("rank", 2), ("observe", 2), ("rank", 3), ("observe", 3),
    ]  # fmt: skip


def test_unsampled_sessions_are_told_but_never_asked(columns_of) -> None:
    clicks = [("u", "a", 1, "click", 7), ("v", "a", 2, "click", 8), ("u", "b", 3, "click", 7)]
    columns = columns_of([*clicks, ("v", "c", 4, "click", 8)])
    recorder = Recorder()
    replay(columns, 0, columns.session == 8, [recorder])
    assert [call for call in recorder.calls if call[0] == "rank"] == [("rank", 3)]
    assert [i for kind, i in recorder.calls if kind == "observe"] == [0, 1, 2, 3]


def test_events_without_session_and_other_actions_are_not_asked_about(columns_of) -> None:
    columns = columns_of(
        [("u", "a", 1), ("u", "b", 2), ("v", "a", 3, "click", 5), ("v", "b", 4, "hover", 5), ("v", "c", 5, "click", 5)]
    )
    recorder = Recorder()
    replay(columns, 0, everything(columns), [recorder])
    assert [i for kind, i in recorder.calls if kind == "rank"] == [4]
    assert [i for kind, i in recorder.calls if kind == "observe"] == [0, 1, 2, 4]


def test_figures_of_a_known_answer_are_exact(columns_of) -> None:
    columns = columns_of([("u", item, time, "click", 5) for time, item in enumerate("abcd")])
    answered = replay(columns, 0, everything(columns), [Oracle(columns), Recorder()])
    assert answered.table() == {
        "oracle": {"recall@20": 1.0, "mrr@20": 0.5, "n_cases": 3},
        "recorder": {"recall@20": 0.0, "mrr@20": 0.0, "n_cases": 3},
    }


def test_what_is_asked_is_named_by_its_event_its_user_and_what_the_user_did_before(columns_of) -> None:
    clicks = [("w", "a", 1, "click", 5), ("v", "a", 2, "click", 6), ("w", "b", 3, "hover", 5)]
    columns = columns_of([*clicks, ("w", "b", 4, "click", 5), ("w", "a", 5, "click", 5)])
    answered = replay(columns, 0, everything(columns), [Recorder()])
    assert answered.events.tolist() == [4, 5]
    assert [columns.users[user] for user in answered.users] == ["w", "w"]
    assert answered.n_before.tolist() == [1, 2]
    assert [columns.items[row] for row in answered.targets] == ["b", "a"]


def test_nothing_to_ask_is_an_error(columns_of) -> None:
    columns = columns_of([("u", "a", 1, "click", 5), ("v", "b", 2, "click", 6)])
    with pytest.raises(TrainingError, match="no sampled session has a second click"):
        replay(columns, 0, everything(columns), [Recorder()])


def test_progress_ends_with_all_events(columns_of) -> None:
    columns = columns_of([("u", item, time, "click", 5) for time, item in enumerate("abcd")])
    calls = []
    replay(columns, 1, everything(columns), [Recorder()], progress=lambda *call: calls.append(call))
    assert calls[-1] == (3, 3, "3 asked")


@pytest.mark.parametrize("make", [Popular60Min, StreamCovisit])
@pytest.mark.parametrize("seed", range(3))
def test_warming_up_leaves_the_same_state_as_observing(make, seed, random_columns) -> None:
    columns = random_columns(seed)
    warmed, told = make(columns), make(columns)
    mask = columns.item >= 0
    mask[500:] = False
    warmed.warm(mask)
    for i in np.flatnonzero(mask):
        told.observe(int(i))
    for i in range(500, 600):
        assert warmed.rank(i, 20).tolist() == told.rank(i, 20).tolist()


def test_the_window_of_an_hour_is_exact_to_the_millisecond(columns_of) -> None:
    columns = columns_of([("u", "a", 0), ("u", "b", 1), ("u", "c", WINDOW_MS - 1), ("u", "d", WINDOW_MS)])
    system = Popular60Min(columns)
    for i in range(3):
        system.observe(i)
    assert [columns.items[row] for row in system.rank(3, 5)] == ["c", "b"]  # a happened exactly an hour ago


@pytest.mark.parametrize("seed", range(3))
def test_the_sliding_window_counts_like_counting_anew(seed, random_columns, monkeypatch) -> None:
    monkeypatch.setattr("upnext.training.stream_counts.WINDOW_MS", 23)
    columns = random_columns(seed)
    system = Popular60Min(columns)
    for i in np.flatnonzero(columns.item >= 0).tolist():
        now = columns.timestamp_ms[i]
        inside = [j for j in range(i) if columns.item[j] >= 0 and columns.timestamp_ms[j] > now - 23]
        items = columns.item[inside]
        best = sorted(set(items.tolist()), key=lambda x: (-(items == x).sum(), -max(np.array(inside)[items == x])))
        assert system.rank(i, 4).tolist() == best[:4]
        system.observe(i)


def test_covisit_counts_pairs_both_ways_and_breaks_ties_by_recency(columns_of) -> None:
    pairs = ["ab", "ab", "ac", "da"]
    clicks = [
        ("u", item, 10 * s + place, "click", s + 1) for s, pair in enumerate(pairs) for place, item in enumerate(pair)
    ]
    columns = columns_of([*clicks, ("v", "a", 90, "click", 9), ("v", "b", 91, "click", 9)])
    system = StreamCovisit(columns)
    for i in range(9):
        system.observe(i)
    assert [columns.items[row] for row in system.rank(9, 5)] == ["b", "d", "c"]
    assert [columns.items[row] for row in system.rank(9, 1)] == ["b"]


def test_covisit_keeps_sessions_apart_and_ignores_reloads_and_events_without_session(columns_of) -> None:
    columns = columns_of(
        [
            ("u", "a", 1, "click", 1),
            ("v", "b", 2, "click", 2),
            ("u", "a", 3, "click", 1),
            ("u", "c", 4, "click", 1),
            ("w", "d", 5),
            ("w", "a", 6),
            ("x", "a", 7, "click", 3),
            ("x", "c", 8, "click", 3),
        ]
    )
    system = StreamCovisit(columns)
    for i in range(7):
        system.observe(i)
    assert [columns.items[row] for row in system.rank(7, 5)] == ["c"]


def test_sessions_are_sampled_by_the_last_characters_of_their_id(columns_of) -> None:
    columns = columns_of([("u", "a", 3), ("u", "b", 1), ("u", "c", 2), ("u", "d", 4)])
    sessions = ["x10", None, "x01", "0"]
    scan = [
        (seq, Event(event_id=str(seq), action="click", timestamp_ms=seq, user_id="u", item_id="a", session_id=session))
        for seq, session in enumerate(sessions, start=1)
    ]
    assert sessions_ending_in(scan, columns, "0").tolist() == [True, False, False, True]
