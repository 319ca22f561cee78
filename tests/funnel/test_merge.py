"""Fusion against a dictionary that does the same slowly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnext.funnel.retrieval.merge import Merger

N_ITEMS = 60
sources = st.lists(
    st.tuples(
        st.sampled_from([0.3, 1.0, 1.0, 2.5, 0.0]),
        st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=25),
    ),
    max_size=8,
)
one_merger = Merger(N_ITEMS)  # on purpose one for all: what one call leaves behind would show in the next


def slow_merge(found, cap):
    scores, bits = {}, {}
    for bit, weight, rows in found:
        for rank, row in enumerate(rows.tolist()):
            gain = np.float32(1.0 / (61.0 + rank)) * np.float32(weight)
            scores[row] = np.float32(scores.get(row, np.float32(0)) + gain)
            bits[row] = bits.get(row, 0) | bit
    order = sorted(scores, key=lambda row: (-scores[row], row))[:cap]
    return order, [scores[row] for row in order], [bits[row] for row in order]


@given(sources, st.integers(0, 80))
def test_merging_is_weighted_reciprocal_rank_fusion(listed, cap):
    found = [(1 << place, weight, np.array(rows, np.int32)) for place, (weight, rows) in enumerate(listed)]
    merged = one_merger.merge(found, cap)
    rows, scores, bits = slow_merge(found, cap)
    assert merged.rows.tolist() == rows
    assert merged.scores.tolist() == scores
    assert merged.sources.tolist() == bits
    assert (merged.rows.dtype, merged.scores.dtype, merged.sources.dtype) == (np.int32, np.float32, np.uint16)
    assert not one_merger._sums.any()


def test_ties_go_to_the_lower_row_whatever_the_order_of_the_sources():
    first, second = (1, 1.0, np.array([9, 4], np.int32)), (2, 1.0, np.array([3, 5], np.int32))
    assert one_merger.merge([first, second], 10).rows.tolist() == [3, 9, 4, 5]
    assert one_merger.merge([second, first], 10).rows.tolist() == [3, 9, 4, 5]


def test_nothing_found_is_no_candidates():
    merged = one_merger.merge([], 10)
    assert len(merged.rows) == len(merged.scores) == len(merged.sources) == 0


def test_a_source_may_return_the_whole_of_a_large_catalogue():
    rows = np.arange(9_000, dtype=np.int32)[::-1].copy()
    merged = Merger(9_000).merge([(1, 1.0, rows)], 1 << 30)
    assert merged.rows.tolist() == rows.tolist()


def test_a_row_that_no_catalogue_has_leaves_nothing_behind():
    with pytest.raises(IndexError):
        one_merger.merge([(1, 1.0, np.array([1, N_ITEMS], np.int32))], 10)
    assert not one_merger._sums.any()
    assert one_merger.merge([(1, 1.0, np.array([1], np.int32))], 10).scores.tolist() == [np.float32(1 / 61)]
