"""What is known of events becomes codes, and what is the same for all of them is not read."""

import numpy as np
import pytest
import torch

from upnext.features.session_inputs import N_GAPS
from upnext.models.session_tables import N_VALUES, NO_ACTION, EventTables, telling
from upnext.training.sequences import Sequences


def ladder(values: list[float]) -> list[int]:
    """Buckets of `values` in tables fitted to themselves."""
    column = np.array(values, np.float32)
    tables = EventTables(4)
    tables.fit_edges(column)
    codes = tables.codes(Sequences(np.array([0, len(column)]), np.zeros(len(column), np.int32), values=column))
    assert codes is not None
    return codes[2].tolist()


def test_few_distinct_values_have_a_bucket_each():
    assert ladder([1, 5, 3, 5, 1, float("nan")]) == [1, 3, 2, 3, 1, 0]


def test_many_values_are_cut_at_their_quantiles():
    buckets = np.bincount(ladder([float(value) for value in range(800)]), minlength=N_VALUES + 1)
    assert buckets[0] == 0
    assert buckets[1:].tolist() == pytest.approx([100] * N_VALUES, abs=2)


@pytest.mark.parametrize("values", [[2.0, 2.0], [float("nan")]])
def test_one_value_or_none_needs_no_edges(values):
    assert set(ladder(values)) <= {0, 1}


def test_without_actions_times_and_values_there_is_nothing_to_code():
    assert EventTables(4).codes(Sequences.from_events([0, 0], [1, 2], 1)) is None


def test_the_gap_is_that_to_the_event_before_of_the_same_user():
    times_ms = np.array([5_000, 100_000, 6_000, 101_000])
    known = Sequences.from_events([0, 1, 0, 1], [1, 2, 3, 4], 2, times_ms=times_ms)
    assert known.gaps_ms().tolist() == [-1, 1_000, -1, 1_000]
    codes = EventTables(4).codes(known)
    assert codes[0].tolist() == [NO_ACTION] * 4
    assert codes[1].tolist() == [0, 2, 0, 2]


def test_a_column_that_is_the_same_everywhere_is_not_read():
    codes = np.array([[2, 2, 2], [0, 5, 7], [0, 3, 3]], np.uint8)
    assert telling(codes).tolist() == [[NO_ACTION] * 3, [0, 5, 7], [0, 0, 0]]


def test_what_is_unknown_learns_nothing():
    tables = EventTables(4)
    codes = torch.tensor([[NO_ACTION, 1], [0, N_GAPS - 1], [0, N_VALUES]])
    tables(codes).sum().backward()
    for table in (tables.actions, tables.gaps, tables.values):
        assert table.weight.grad.any(dim=1).sum() == 1
        assert not table.weight.grad[table.padding_idx].any()
