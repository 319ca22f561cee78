"""Baselines find what was planted for them, and reach on real data what is known of them."""

import io
import zipfile

import numpy as np
import pytest

from upnext.domain.event import ACTION_CODE
from upnext.ingest.columns import EventColumns
from upnext.training.baselines import all_baselines, covisit, ials, item_knn, popular, popular_recent
from upnext.training.evaluate import evaluate
from upnext.training.sequences import Sequences
from upnext.training.splits import Cases, cases_at, interactions, leave_one_out

DAY_MS = 24 * 3_600_000


def ask(system, columns, history: list[str], k: int = 3, drop_seen: bool = True) -> list[str]:
    items = np.array([columns.items.index(item) for item in history], np.int32)
    histories = Sequences(np.array([0, len(items)]), items)
    zero = np.zeros(1, np.int64)
    cases = Cases(zero.astype(np.int32), histories, zero, np.array([-1], np.int32), drop_seen)
    return [columns.items[row] for row in system.rank(cases, k)[0] if row >= 0]


def checkerboard(columns_of):
    """Even users choose even items and odd users odd ones, each leaving out one of the ten."""
    clicks = []
    for user in range(40):
        own = [item for item in range(10) if item % 2 == user % 2]
        own.remove(own[(user // 2) % 5])
        clicks += [(f"u{user:02}", f"i{item}", 100 * user + place) for place, item in enumerate(own)]
    return columns_of(clicks)


def test_popular_ranks_by_count_and_drops_what_was_seen(columns_of) -> None:
    columns = columns_of([("u", "a", 1), ("v", "b", 2), ("w", "b", 3), ("u", "c", 4), ("v", "c", 5), ("w", "c", 6)])
    system = popular(columns, interactions(columns))
    assert ask(system, columns, []) == ["c", "b", "a"]
    assert ask(system, columns, ["b"]) == ["c", "a"]
    assert ask(system, columns, ["b"], drop_seen=False) == ["c", "b", "a"]


def test_popularity_counts_training_events_only(columns_of) -> None:
    columns = columns_of([("u", "a", 1), ("v", "b", 2), ("w", "b", 3)])
    assert ask(popular(columns, np.array([True, False, False])), columns, [], k=1) == ["a"]


def test_popular_recent_counts_the_last_seven_days_of_a_long_training_period(columns_of) -> None:
    old = [("u", "a", day * DAY_MS) for day in range(199)]
    new = [("u", "b", 200 * DAY_MS), ("u", "b", 206 * DAY_MS), ("u", "c", 206 * DAY_MS)]
    columns = columns_of([*old, *new])
    assert ask(popular_recent(columns, interactions(columns)), columns, []) == ["b", "c", "a"]


def test_popular_recent_counts_the_newest_tenth_of_a_short_training_period(columns_of) -> None:
    columns = columns_of([("u", "a", hour) for hour in range(90)] + [("u", "b", 95), ("u", "c", 98), ("u", "c", 100)])
    assert ask(popular_recent(columns, interactions(columns)), columns, [], k=2) == ["c", "b"]


def test_covisit_follows_the_last_item_then_popularity(columns_of) -> None:
    clicks = [(f"u{n}", item, 10 * n + place) for n in range(3) for place, item in enumerate("ab")]
    clicks += [("v", item, 50 + place) for place, item in enumerate("acdddd")]
    columns = columns_of(clicks)
    system = covisit(columns, interactions(columns))
    assert ask(system, columns, ["d", "a"]) == ["b", "c"]  # b follows a three times, c once; d and a were seen
    assert ask(system, columns, []) == ["a", "d", "b"]  # without a last item: by count alone
    assert ask(system, columns, ["b"], k=1) == ["a"]  # nothing ever followed b


def test_covisit_does_not_join_the_histories_of_two_users(columns_of) -> None:
    columns = columns_of([("u", "a", 1), ("v", "b", 2), ("w", "c", 3), ("x", "c", 4)])
    assert ask(covisit(columns, interactions(columns)), columns, ["a"]) == ["c", "b"]


@pytest.mark.parametrize("fit", [item_knn, lambda columns, train: ials(columns, train, seed=1, factors=8)])
def test_neighbours_and_factors_find_the_withheld_item_of_the_checkerboard(fit, columns_of) -> None:
    columns = checkerboard(columns_of)
    system = fit(columns, interactions(columns))
    for withheld in range(10):
        history = [f"i{item}" for item in range(10) if item % 2 == withheld % 2 and item != withheld]
        assert ask(system, columns, history, k=1) == [f"i{withheld}"]


def test_all_baselines_have_their_own_names_and_repeat_with_a_seed(random_columns) -> None:
    columns = random_columns(1)
    split = leave_one_out(columns)
    cases = cases_at(columns, split.case_events)
    results = [evaluate(all_baselines(columns, split.train, seed=4), cases, len(columns.items)) for _ in range(2)]
    assert list(results[0]) == ["popular", "popular_recent", "covisit", "item_knn", "ials"]
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def movielens_1m(shared_data) -> EventColumns:
    with zipfile.ZipFile(shared_data / "ml-1m.zip") as archive, archive.open("ml-1m/interactions.csv") as file:
        table = np.loadtxt(io.TextIOWrapper(file), delimiter=",", skiprows=1, dtype=np.int64)
    table = table[np.argsort(table[:, 3], kind="stable")]
    (users, user), (items, item) = (np.unique(table[:, column], return_inverse=True) for column in (0, 1))
    n = len(table)
    return EventColumns(
        user=user.astype(np.int32),
        users=[f"u:{user}" for user in users],
        item=item.astype(np.int32),
        items=[str(item) for item in items],
        action=np.full(n, ACTION_CODE["play"], np.uint8),
        timestamp_ms=978_300_000_000 + 1000 * table[:, 3],
        session=np.zeros(n, np.uint64),
        value=table[:, 2].astype(np.float32),
        seq=np.arange(1, n + 1, dtype=np.int64),
    )


def test_a_markov_chain_reaches_its_known_figure_on_movielens_1m(movielens_1m) -> None:
    split = leave_one_out(movielens_1m)
    assert (split.n_cases, int(split.train.sum())) == (6040, 999_611 - 2 * 6040)
    figures = evaluate(
        [popular(movielens_1m, split.train), covisit(movielens_1m, split.train)],
        cases_at(movielens_1m, split.case_events),
        len(movielens_1m.items),
    )
    assert figures["covisit"]["ndcg@10"] == pytest.approx(0.126, abs=0.001)
    assert figures["popular"]["ndcg@10"] == pytest.approx(0.018, abs=0.001)
