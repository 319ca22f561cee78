"""What a request knows of its user."""

import numpy as np
import pytest

from tests.features import world
from upnext.domain.identity import keys_of
from upnext.features.item_vectors import ItemVectors
from upnext.features.signals import Signals, signals_of
from upnext.features.user_view import UserView, before_session
from upnext.state.user_state import UserState, UserVectors


def signals(*recent: int, vectors: ItemVectors | None = None, n_before_session: int = 0) -> Signals:
    view = UserView(recent_rows=np.array(recent, np.int32), n_before_session=n_before_session)
    return signals_of(view, world.catalog(), vectors or world.vectors(), world.crowd())


def shares(rows: np.ndarray, scores: np.ndarray) -> dict[int, float]:
    assert (rows.dtype, scores.dtype) == (np.int32, np.float32)
    return {row: pytest.approx(score, rel=1e-6) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)}


def test_recent_items_are_the_newest_five_different_ones() -> None:
    assert signals(7, 6, 5, 4, 3, 2, 2, 1, 2).recent_rows.tolist() == [2, 1, 3, 4, 5]


def test_what_follows_the_recent_items_fades_with_their_age() -> None:
    known = signals(0, 1)
    rest = 0.5 ** (1 / 168)  # an hour of a half-life of a week
    expected = {3: 1 / (1 + rest), 2: rest / (1 + rest), 1: 0.6}
    assert shares(known.covisit_rows, known.covisit_scores) == expected
    assert known.covisit_rows.tolist() == [1, 3, 2]
    assert shares(known.covisit_last_rows, known.covisit_last_scores) == {row: expected[row] for row in (2, 3)}


def test_what_was_chosen_before_the_latest_session_fills_up_and_does_not_lead() -> None:
    known = signals(0, 1, n_before_session=1)
    now, before = signals(1), signals(0)
    led = shares(now.covisit_rows, now.covisit_scores)
    filled = {
        row: pytest.approx(0.6 * 0.03 * score)
        for row, score in zip(before.covisit_rows.tolist(), before.covisit_scores.tolist(), strict=True)
    }
    assert shares(known.covisit_rows, known.covisit_scores) == filled | led
    assert known.covisit_rows.tolist() == [*now.covisit_rows.tolist(), *before.covisit_rows.tolist()]


@pytest.mark.parametrize(("n_before_session", "like"), [(0, (0, 1)), (1, (1,)), (2, (1,))])
def test_sessions_are_looked_for_by_the_latest_session_alone(n_before_session: int, like: tuple[int, ...]) -> None:
    """By the newest item at least, when the session's own are not known here."""
    known, alone = signals(0, 1, n_before_session=n_before_session), signals(*like)
    assert known.knn_rows.tolist() == alone.knn_rows.tolist() != []
    assert known.knn_scores.tolist() == alone.knn_scores.tolist()


@pytest.mark.parametrize(
    ("times_ms", "n"), [([], 0), ([5], 0), ([5, 15, 25], 0), ([5, 16, 26], 1), ([0, 20, 40, 45], 2), ([0, 20, 3, 4], 1)]
)
def test_a_session_begins_after_the_newest_pause_longer_than_the_gap(times_ms: list[int], n: int) -> None:
    assert before_session(np.array(times_ms, np.int64), 10) == n


def test_with_one_recent_item_it_is_also_the_last() -> None:
    known = signals(0)
    assert shares(known.covisit_rows, known.covisit_scores) == {1: 1.0}
    assert shares(known.covisit_last_rows, known.covisit_last_scores) == {1: 1.0}


def test_the_newest_item_counts_even_when_nothing_follows_it() -> None:
    known = signals(0, 6)
    assert shares(known.covisit_rows, known.covisit_scores) == {1: 0.6}
    assert len(known.covisit_last_rows) == 0


def test_the_genre_profile_holds_shares_of_all_recent_interactions() -> None:
    profile = signals(0, 0, 1, 3, 6).genre_profile  # Drama three times, Comedy, and one of no genre
    assert profile.dtype == np.float32
    np.testing.assert_allclose(profile, [0.6, 0.2, 0.0, 0.0], rtol=1e-6)


def test_the_content_profile_is_the_faded_direction_of_recent_texts() -> None:
    profile = signals(1, 0).content_profile
    assert profile.dtype == np.float32
    np.testing.assert_allclose(profile, np.array([1, 0.6]) / np.hypot(1, 0.6), rtol=1e-6)


@pytest.mark.parametrize("recent", [(), (7,)])
def test_without_text_there_is_no_content_profile(recent: tuple[int, ...]) -> None:
    assert len(signals(*recent).content_profile) == 0
    assert len(signals(1, vectors=ItemVectors()).content_profile) == 0


def test_of_a_user_without_history_everything_is_empty() -> None:
    known = signals()
    arrays = (known.recent_rows, known.covisit_rows, known.covisit_scores, known.covisit_last_rows)
    assert [len(array) for array in arrays] == [0, 0, 0, 0]
    assert known.genre_profile.tolist() == [0.0] * 4


def test_a_view_leaves_out_items_that_the_release_does_not_have() -> None:
    keys = keys_of(["i3", "elsewhere", "i1"])
    state = UserState(4, 3, 99, 0, keys, np.array([5, 20, 40]), np.zeros(3, np.uint8), np.sort(keys))
    vector = np.ones(2, np.float32)
    view = UserView.of(state, UserVectors(4, vector, 2 * vector), world.catalog(), 10)
    assert (view.state_version, view.n_interactions, view.last_ms) == (4, 3, 99)
    assert (view.recent_rows.tolist(), sorted(view.seen_rows.tolist())) == ([3, 1], [1, 3])
    assert view.n_before_session == 1  # of the two items before the pause one is known
    assert (view.session_vector.tolist(), view.user_vector.tolist()) == ([1, 1], [2, 2])
    bare = UserView.of(UserState(), None, world.catalog(), 10)
    assert (len(bare.recent_rows), len(bare.seen_rows), len(bare.session_vector), len(bare.user_vector)) == (0,) * 4
