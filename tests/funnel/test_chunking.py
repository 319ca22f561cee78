"""The chunk size that is fastest here, judged by a clock that the fake ranker moves by what a chunk costs."""

from collections.abc import Callable

import numpy as np
import pytest

from upnext.clock import ManualClock
from upnext.funnel.answer import RankerInputs
from upnext.funnel.ranking.chunking import measured_chunk


class CostlyRanker:
    """Every chunk costs what `cost_ms(size of the chunk, number of the call)` says, and nothing is computed."""

    exits, default_exit = ("shallow", "deep"), "deep"

    def __init__(self, clock: ManualClock, cost_ms: Callable[[int, int], float], chunk: int = 0) -> None:
        self._clock, self._cost_ms, self._chunk = clock, cost_ms, chunk
        self.calls: list[int] = []  # chunk sizes asked with, shared by all made of one

    def with_chunk(self, chunk):
        other = CostlyRanker(self._clock, self._cost_ms, chunk)
        other.calls = self.calls
        return other

    def made_up_inputs(self, n):
        return RankerInputs(np.zeros(n, np.int32), np.zeros(1, np.float32), np.zeros((n, 1), np.float32))

    def score(self, rows, user, cross, exit_name):
        assert exit_name == "deep"
        assert len(rows) == len(cross)
        for at in range(0, len(rows), self._chunk):
            self._clock.advance(self._cost_ms(min(self._chunk, len(rows) - at), len(self.calls)))
        self.calls.append(self._chunk)
        return np.zeros(len(rows), np.float32)


def chunk_of(cost_ms, n: int, **options) -> tuple[int, list[int]]:
    clock = ManualClock()
    ranker = CostlyRanker(clock, lambda size, call: cost_ms(size))
    return measured_chunk(ranker, n, clock=clock, **options), ranker.calls


def cached(size: int) -> float:
    """A call costs 10; a candidate 1, but 2 in chunks of more than 256."""
    return 10 + size * (1 if size <= 256 else 2)


@pytest.mark.parametrize(
    ("n", "best"),
    [
        (200, 1_024),  # at once: 210, in the cache anyway
        (500, 256),  # 520, against 1,010 at once and 540 by 128
        (1_000, 256),
        (4_000, 256),
        (1, 1_024),
        (0, 1_024),
    ],
)
def test_the_fastest_size_for_the_usual_count_is_taken(n, best):
    assert chunk_of(cached, n)[0] == best


def test_where_calls_are_dear_all_go_at_once():
    assert chunk_of(lambda size: 1_000 + size, 5_000)[0] == 1_024
    assert chunk_of(lambda size: 1_000 + size, 5_000, most=300)[0] == 300


def test_where_calls_are_free_and_products_are_not_the_smallest_wins():
    assert chunk_of(lambda size: size**2, 1_000)[0] == 64


@pytest.mark.parametrize(("smaller_ms", "best"), [(97.0, 1_024), (94.0, 256), (95.0, 256)])
def test_a_smaller_size_must_be_clearly_faster(smaller_ms, best):
    by_size = {256: smaller_ms / 2, 244: smaller_ms / 2}
    assert chunk_of(lambda size: by_size.get(size, 100.0), 500)[0] == best


def test_sizes_that_hold_all_candidates_are_measured_once():
    assert sorted(set(chunk_of(cached, 128)[1])) == [64, 1_024]
    assert sorted(set(chunk_of(cached, 129)[1])) == [64, 128, 1_024]
    assert sorted(set(chunk_of(cached, 5_000, most=256)[1])) == [64, 128, 256]
    assert chunk_of(cached, 64)[1] == []


def test_sizes_take_turns_and_busy_moments_do_not_count():
    clock = ManualClock()
    # The first round is cold, and for 6 of the 15 after it the machine is busy whenever 256 has its turn.
    ranker = CostlyRanker(clock, lambda size, call: 1e6 if call < 4 or (call % 4 == 2 and call < 28) else cached(size))
    assert measured_chunk(ranker, 500, clock=clock) == 256
    assert ranker.calls == [64, 128, 256, 1_024] * 16
