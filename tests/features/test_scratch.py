"""Lookups by row that leave nothing behind."""

import threading

import numpy as np
import pytest

from upnext.features.scratch import Scratch


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def assert_zero(scratch: Scratch) -> None:
    assert not scratch.floats.any()
    assert not scratch.flags.any()


def test_wanted_rows_get_their_value_and_others_zero() -> None:
    scratch = Scratch(10)
    found = scratch.lookup(rows(4, 7), np.array([0.5, 2.0], np.float32), rows(7, 1, 4, 7))
    assert (found.dtype, found.tolist()) == (np.float32, [2.0, 0.0, 0.5, 2.0])
    assert scratch.lookup(rows(), np.empty(0, np.float32), rows(4, 7)).tolist() == [0.0, 0.0]
    assert_zero(scratch)


def test_rows_outside_of_others_are_told() -> None:
    scratch = Scratch(10)
    outside = scratch.outside(rows(1, 2, 3, 2), rows(2, 9, 2))
    assert (outside.dtype, outside.tolist()) == (np.bool_, [True, False, True, False])
    assert scratch.outside(rows(1), rows()).tolist() == [True]
    assert_zero(scratch)


def test_a_lookup_that_fails_leaves_nothing_behind() -> None:
    scratch = Scratch(10)
    with pytest.raises(IndexError):
        scratch.lookup(rows(4), np.ones(1, np.float32), rows(99))
    with pytest.raises(IndexError):
        scratch.outside(rows(99), rows(4))
    assert_zero(scratch)


def test_each_thread_has_arrays_of_its_own() -> None:
    scratch, others = Scratch(3), list[np.ndarray]()
    thread = threading.Thread(target=lambda: others.append(scratch.floats))
    thread.start()
    thread.join()
    assert not np.shares_memory(scratch.floats, others[0])
    assert others[0].shape == (3,)
