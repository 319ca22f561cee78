"""What was counted lately is the difference of totals, exactly, whatever was counted before."""

import numpy as np

from upnext.metrics.cells import Cell
from upnext.metrics.windows import Windows
from upnext.metrics.workers import Totals

REQUESTS = Cell("counter", "requests", ("full",))
TIMES = Cell("histogram", "times", ("total",))


def totals_of(requests: float, *times: float) -> Totals:
    totals = Totals()
    totals.add(REQUESTS, np.array([requests]))
    if times:
        totals.add(TIMES, np.array(times))
    return totals


def test_the_first_look_tells_nothing_and_the_next_what_grew_since() -> None:
    windows = Windows(longest_s=300, most_gap_s=15)
    assert windows.add(totals_of(1_000, 50.0, 3, 4), at_ms=0.0) is None
    assert windows.over(60).covers_s == 0.0
    step = windows.add(totals_of(1_010, 58.0, 3, 6), at_ms=2_000.0)
    assert step is not None
    assert step.covers_s == 2.0
    assert step.counts[REQUESTS].tolist() == [10]
    assert step.counts[TIMES].tolist() == [8.0, 0, 2]


def test_a_window_is_the_sum_of_its_looks_and_forgets_older_ones() -> None:
    windows = Windows(longest_s=10, most_gap_s=15)
    for at_s in range(0, 42, 2):
        windows.add(totals_of(at_s**2), at_ms=at_s * 1e3)
    assert windows.over(2).counts[REQUESTS].tolist() == [40**2 - 38**2]
    assert windows.over(6).counts[REQUESTS].tolist() == [40**2 - 34**2]
    assert windows.over(6).covers_s == 6.0
    longest = windows.over(10_000)
    assert (longest.covers_s, longest.counts[REQUESTS].tolist()) == (10.0, [40**2 - 30**2])


def test_what_does_not_grow_is_left_out_and_what_is_new_counts_from_nothing() -> None:
    windows = Windows(longest_s=60, most_gap_s=15)
    windows.add(totals_of(5), at_ms=0.0)
    step = windows.add(totals_of(5, 7.0, 0, 1), at_ms=1_000.0)
    assert step is not None
    assert dict(step.counts).keys() == {TIMES}
    assert step.counts[TIMES].tolist() == [7.0, 0, 1]


def test_after_a_long_rest_it_begins_anew() -> None:
    windows = Windows(longest_s=300, most_gap_s=15)
    windows.add(totals_of(5), at_ms=0.0)
    windows.add(totals_of(6), at_ms=2_000.0)
    assert windows.add(totals_of(9_000), at_ms=60_000.0) is None
    assert windows.over(300).counts == {}
