"""What follows what, against counting with dictionaries."""

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.state.kept_arrays import KeptArrays
from upnext.settings import DAY_MS, TrendSettings
from upnext.state.covisits import Covisits

N_ITEMS = 9
HALF_LIFE_MS = 7 * DAY_MS
NOW_MS = 1_700_000_000_000
Pair = tuple[int, int, int]
PAIRS = st.lists(
    st.tuples(
        st.integers(0, N_ITEMS - 1),
        st.integers(0, N_ITEMS - 1),
        st.one_of(st.integers(0, 30 * DAY_MS), st.integers(0, 500 * DAY_MS)).map(lambda ms: NOW_MS + ms),
    ),
    min_size=1,
    max_size=40,
)


def table(n_items: int = N_ITEMS, *, width: int = N_ITEMS, slots: int | None = None) -> Covisits:
    """An empty table, with room for so many rows (default: all)."""
    size = 1 << 20 if slots is None else (slots + 1) * (8 * width + 20)
    return Covisits(n_items, TrendSettings(covisit_width=width, covisit_bytes=size))


def online(pairs: list[Pair], covisits: Covisits | None = None) -> Covisits:
    covisits = covisits or table()
    for pair in pairs:
        covisits.observe(*pair)
    return covisits


def bulk(pairs: list[Pair], covisits: Covisits | None = None) -> Covisits:
    covisits = covisits or table()
    rows, next_rows, times_ms = (np.array(column) for column in zip(*pairs, strict=True))
    covisits.observe_many(rows.astype(np.int32), next_rows.astype(np.int32), times_ms.astype(np.int64))
    return covisits


def after(covisits: Covisits, *rows: int, weights: list[float] | None = None) -> dict[int, float]:
    found, scores = covisits.after(np.array(rows, np.int32), np.array(weights or [1.0] * len(rows), np.float32))
    assert (found.dtype, scores.dtype) == (np.int32, np.float32)
    answer = dict(zip(found.tolist(), scores.tolist(), strict=True))
    assert len(answer) == len(found)
    assert list(answer) == sorted(answer, key=lambda row: (-answer[row], row))
    return answer


def shares_by_dictionary(pairs: list[Pair]) -> dict[int, dict[int, float]]:
    weights: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    latest_ms = max(ms for _, _, ms in pairs)
    for row, next_row, timestamp_ms in pairs:
        weights[row][next_row] += 0.5 ** ((latest_ms - timestamp_ms) / HALF_LIFE_MS)
    return {
        row: {other: weight / sum(successors.values()) for other, weight in successors.items()}
        for row, successors in weights.items()
    }


def assert_close(found: dict[int, float], expected: dict[int, float]) -> None:
    assert {row for row, share in expected.items() if share > 1e-30} <= set(found) <= set(expected)
    for row, share in found.items():
        np.testing.assert_allclose(share, expected[row], rtol=2e-5, atol=1e-30)


@given(PAIRS)
@settings(max_examples=150, deadline=None)
def test_with_room_for_all_shares_are_those_of_dictionaries(pairs: list[Pair]) -> None:
    expected = shares_by_dictionary(pairs)
    for covisits in (online(pairs), bulk(pairs)):
        for row in range(N_ITEMS):
            assert_close(after(covisits, row), expected.get(row, {}))
            one_rows, one_shares = covisits.after_one(row)
            assert dict(zip(one_rows.tolist(), one_shares.tolist(), strict=True)) == after(covisits, row)


@given(PAIRS, PAIRS)
@settings(max_examples=60, deadline=None)
def test_counting_goes_on_after_a_bulk_load_as_if_all_had_come_one_by_one(first: list[Pair], then: list[Pair]) -> None:
    both = online(then, bulk(first))
    for row in range(N_ITEMS):
        assert_close(after(both, row), shares_by_dictionary(first + then).get(row, {}))


@given(PAIRS, st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=5, unique=True))
@settings(max_examples=100, deadline=None)
def test_scores_after_several_items_are_weighted_sums_of_shares(pairs: list[Pair], rows: list[int]) -> None:
    weights = [0.6**place for place in range(len(rows))]
    expected: dict[int, float] = defaultdict(float)
    for row, weight in zip(rows, weights, strict=True):
        for other, share in shares_by_dictionary(pairs).get(row, {}).items():
            expected[other] += weight * share
    covisits = online(pairs)
    found = after(covisits, *rows, weights=weights)
    assert_close(found, expected)
    assert sum(found.values()) <= sum(weights) * (1 + 1e-5)
    assert not covisits._sums._floats.any()


def test_shares_are_exact_for_a_small_example() -> None:
    covisits = online([(0, 1, NOW_MS), (0, 1, NOW_MS), (0, 2, NOW_MS), (0, 0, NOW_MS), (3, 2, NOW_MS)])
    assert after(covisits, 0) == {1: 0.5, 0: 0.25, 2: 0.25}
    assert after(covisits, 3) == {2: 1.0}
    assert after(covisits, 0, 3, weights=[1.0, 0.5]) == {2: 0.75, 1: 0.5, 0: 0.25}
    assert after(covisits, 0, 4) == after(covisits, 0)


def test_where_nothing_is_known_nothing_follows() -> None:
    covisits = online([(0, 1, NOW_MS)])
    for found, scores in (
        covisits.after(np.array(rows, np.int32), np.ones(len(rows), np.float32)) for rows in ([], [5])
    ):
        assert (len(found), len(scores)) == (0, 0)
        assert (found.dtype, scores.dtype) == (np.int32, np.float32)
    assert len(covisits.after_one(5)[0]) == 0


def test_a_pair_is_worth_half_after_a_half_life() -> None:
    shares = after(online([(0, 1, NOW_MS), (0, 2, NOW_MS + HALF_LIFE_MS)]), 0)
    np.testing.assert_allclose([shares[1], shares[2]], [1 / 3, 2 / 3], rtol=1e-6)


def test_shares_of_an_item_that_rests_for_years_stay_as_they_were() -> None:
    pairs = [(0, 1, NOW_MS), (0, 2, NOW_MS), (0, 2, NOW_MS), (3, 4, NOW_MS + 4_000 * DAY_MS)]
    for covisits in (online(pairs), bulk(pairs)):
        np.testing.assert_allclose(list(after(covisits, 0).values()), [2 / 3, 1 / 3], rtol=1e-6)
        assert after(covisits, 3) == {4: 1.0}


def test_moving_the_landmark_of_an_item_leaves_its_shares() -> None:
    step_ms = 61 * HALF_LIFE_MS // 4  # every fourth event passes the point of renormalisation
    pairs = [(0, 1 + number % 3, NOW_MS + number * step_ms) for number in range(12)]
    covisits = table()
    for number in range(1, len(pairs) + 1):
        covisits.observe(*pairs[number - 1])
        assert_close(after(covisits, 0), shares_by_dictionary(pairs[:number])[0])


def test_in_bulk_the_heaviest_successors_stay() -> None:
    pairs = [(0, other, NOW_MS) for other in range(1, 8) for _ in range(other)]
    shares = after(bulk(pairs, table(width=3)), 0)
    np.testing.assert_allclose(list(shares.values()), [7 / 28, 6 / 28, 5 / 28], rtol=1e-6)
    assert list(shares) == [7, 6, 5]


def test_heavy_successors_survive_a_stream_of_rare_ones() -> None:
    generator = np.random.default_rng(3)
    rare = iter(range(100, 1_000))
    pairs = []
    for number in range(600):
        other = (1, 2, 3)[number % 3] if number % 2 else next(rare)
        pairs.append((0, other, NOW_MS + number * 3_600_000 + int(generator.integers(0, 1_000))))
    shares = after(online(pairs, table(1_000, width=6)), 0)
    assert list(shares)[:3] == sorted((1, 2, 3), key=lambda row: -shares[row])
    assert len(shares) == 6
    expected = shares_by_dictionary(pairs)[0]
    for row in (1, 2, 3):  # never made way, so their share of everything seen is exact
        np.testing.assert_allclose(shares[row], expected[row], rtol=1e-4)


def test_the_lightest_successor_makes_way() -> None:
    covisits = online([(0, 1, NOW_MS), (0, 1, NOW_MS), (0, 2, NOW_MS), (0, 3, NOW_MS)], table(width=2))
    assert after(covisits, 0) == {1: 0.5, 3: 0.25}


def test_the_table_stays_within_its_bytes() -> None:
    covisits = Covisits(500, TrendSettings(covisit_width=4, covisit_bytes=5_000))
    for number in range(2_000):
        covisits.observe(number % 500, (number * 7) % 500, NOW_MS + number)
    kept = KeptArrays()
    covisits.save(kept.add_array)
    assert 4_800 < kept.n_bytes <= 5_000
    slots = (covisits._successors, covisits._weights, covisits._totals, covisits._landmarks_ms, covisits._owner)
    assert sum(array.nbytes for array in slots) <= 5_000


def test_an_item_that_made_way_is_forgotten_and_can_come_back() -> None:
    covisits = table(20, width=2, slots=8)
    for row in range(8):
        for _ in range(row + 1):
            covisits.observe(row, 10 + row, NOW_MS)
    covisits.observe(9, 19, NOW_MS)
    assert after(covisits, 0) == {}, "the lightest of the eight"
    assert after(covisits, 9) == {19: 1.0}
    assert [after(covisits, row) for row in range(1, 8)] == [{10 + row: 1.0} for row in range(1, 8)]
    covisits.observe(0, 11, NOW_MS)
    assert after(covisits, 0) == {11: 1.0}, "nothing of its former successors or of the row it took over"
    assert after(covisits, 9) == {}


def test_who_makes_way_is_judged_as_of_one_moment() -> None:
    covisits = table(20, width=2, slots=2)
    for _ in range(5):
        covisits.observe(0, 10, NOW_MS)
    covisits.observe(1, 11, NOW_MS + 10 * HALF_LIFE_MS)
    covisits.observe(2, 12, NOW_MS + 10 * HALF_LIFE_MS)
    assert after(covisits, 0) == {}
    assert after(covisits, 1) == {11: 1.0}


def test_in_bulk_the_items_followed_most_often_of_late_get_the_room() -> None:
    pairs = [(0, 10, NOW_MS)] * 9 + [(1, 11, NOW_MS + 10 * HALF_LIFE_MS), (2, 12, NOW_MS + 10 * HALF_LIFE_MS)]
    covisits = bulk(pairs, table(20, width=2, slots=2))
    assert [after(covisits, row) for row in range(3)] == [{}, {11: 1.0}, {12: 1.0}]


def test_no_pair_in_bulk_leaves_the_table_empty() -> None:
    covisits = online([(0, 1, NOW_MS)])
    covisits.observe_many(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))
    assert after(covisits, 0) == {}


@given(PAIRS, PAIRS)
@settings(max_examples=50, deadline=None)
def test_what_was_saved_goes_on_as_if_nothing_had_happened(before: list[Pair], then: list[Pair]) -> None:
    covisits, kept = online(before), KeptArrays()
    covisits.save(kept.add_array)
    loaded = online([(8, 8, NOW_MS)])
    loaded.load(kept.array)
    online(then, covisits)
    online(then, loaded)
    for row in range(N_ITEMS):
        assert after(loaded, row) == after(covisits, row)


def test_less_room_than_what_was_saved_keeps_the_items_followed_most_often() -> None:
    pairs = [(row, row + 1, NOW_MS) for row in range(6) for _ in range(row + 1)]
    kept = KeptArrays()
    online(pairs, table(width=3)).save(kept.add_array)
    small = table(width=3, slots=2)
    small.load(kept.array)
    assert [len(after(small, row)) for row in range(6)] == [0, 0, 0, 0, 1, 1]
    small.observe(0, 5, NOW_MS)
    assert sum(len(after(small, row)) for row in range(6)) == 2
