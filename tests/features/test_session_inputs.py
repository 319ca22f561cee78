"""What a session encoder reads beside the item: buckets with known edges, sums that are the same one by one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnext.features.session_inputs import N_GAPS, InputTables, OneEvent, gap_buckets, value_buckets

EDGES = np.array([1, 2.5, 4], np.float32)
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("gap_ms", "bucket"),
    [
        (-1, 0), (0, 1), (999, 1), (1_000, 2), (2_999, 2), (3_000, 3), (6_999, 3), (7_000, 4),
        ((2**22 - 1) * 1_000 - 1, 22), ((2**22 - 1) * 1_000, 23), (98 * DAY_MS, 23), (10_000 * DAY_MS, 23),
    ],
)  # fmt: skip
def test_gaps_are_told_apart_by_powers_of_two_of_a_second(gap_ms: int, bucket: int) -> None:
    assert gap_buckets(np.array([gap_ms], np.int64)).tolist() == [bucket]


def test_values_are_told_apart_by_the_edges_and_none_is_a_bucket_of_its_own() -> None:
    values = np.array([np.nan, -3, 0.99, 1, 2.5, 3.9, 4, np.inf, -np.inf], np.float32)
    assert value_buckets(values, EDGES).tolist() == [0, 1, 1, 2, 3, 3, 4, 4, 1]


def tables(*names: str) -> InputTables:
    rng = np.random.default_rng(1)
    rows = {"actions": 14, "gaps": N_GAPS, "values": len(EDGES) + 2}
    return InputTables(
        **{name: rng.normal(size=(rows[name], 3)).astype(np.float32) for name in names}, value_edges=EDGES
    )


def test_without_tables_there_is_nothing_to_add() -> None:
    assert InputTables().added(np.zeros(2, np.uint8), np.zeros(2, np.int64), np.zeros(2, np.float32)) is None


def test_what_is_added_is_the_sum_of_the_rows() -> None:
    all_three = tables("actions", "gaps", "values")
    found = all_three.added(np.array([3], np.uint8), np.array([5_000], np.int64), np.array([2.6], np.float32))
    assert all_three.actions is not None
    assert all_three.gaps is not None
    assert all_three.values is not None
    np.testing.assert_allclose(found, [all_three.actions[3] + all_three.gaps[3] + all_three.values[3]], rtol=1e-6)


def test_an_action_without_a_row_adds_nothing() -> None:
    found = tables("actions").added(np.array([255, 13], np.uint8), np.zeros(2, np.int64), np.zeros(2, np.float32))
    assert found is not None
    assert found.any(axis=1).tolist() == [False, True]


NAMES = [
    ("actions",),
    ("gaps",),
    ("values",),
    ("actions", "gaps"),
    ("actions", "values"),
    ("actions", "gaps", "values"),
]


@given(
    st.sampled_from(NAMES),
    st.integers(0, 13) | st.just(255),
    st.integers(-1, 2**40),
    st.floats(width=32),
)
def test_one_event_at_a_time_gets_the_same_sums(names: tuple[str, ...], action: int, gap_ms: int, value: float) -> None:
    some = tables(*names)
    many = some.added(np.array([action], np.uint8), np.array([gap_ms], np.int64), np.array([value], np.float32))
    assert many is not None
    np.testing.assert_array_equal(OneEvent(some).added(action, gap_ms, value), many[0])
    assert not math.isnan(float(many.sum()))
