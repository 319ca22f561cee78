"""How many candidates one matrix product of the ranker should take, measured on the machine at hand.

Too many at once and a product leaves the cache; too few, and calls cost more than products.
"""

from statistics import median
from typing import Protocol

from upnext.clock import Clock, SystemClock
from upnext.funnel.answer import RankerInputs
from upnext.funnel.ranking.ranker import Ranker

CHUNKS = (64, 128, 256, 512, 1_024)
_WORTH_IT = 0.95  # a smaller chunk must take no more than this share of the time of the larger


class Chunked(Protocol):
    """A ranker that works in chunks of a size one may choose, such as `GraphRanker`."""

    @property
    def default_exit(self) -> str: ...

    def with_chunk(self, chunk: int) -> Ranker:
        """The same ranker in chunks of at most `chunk`."""

    def made_up_inputs(self, n: int) -> RankerInputs:
        """Inputs of `n` candidates."""


def measured_chunk(
    ranker: Chunked, n_candidates: int, *, most: int = CHUNKS[-1], rounds: int = 15, clock: Clock | None = None
) -> int:
    """The chunk size, at most `most`, with which the default exit ranks `n_candidates` fastest.

    The median of `rounds` in which all sizes take turns, so that a busy moment slows all of them alike. A smaller size
    is taken only when it is clearly faster. Sizes that hold all candidates at once are one and the same: `most` then.
    """
    clock = clock or SystemClock()
    sizes = [*(size for size in CHUNKS if size < min(n_candidates, most)), most]
    if len(sizes) == 1:
        return most
    rankers, asked = [ranker.with_chunk(size) for size in sizes], ranker.made_up_inputs(n_candidates)
    spent_ms: list[list[float]] = [[] for _ in sizes]
    for _ in range(rounds + 1):
        for each, times_ms in zip(rankers, spent_ms, strict=True):
            begin_ms = clock.monotonic_ms()
            each.score(asked.rows, asked.user, asked.cross, ranker.default_exit)
            times_ms.append(clock.monotonic_ms() - begin_ms)
    typical_ms = [median(times_ms[1:]) for times_ms in spent_ms]  # the first has cold caches
    best = len(sizes) - 1
    for at in reversed(range(best)):
        if typical_ms[at] <= typical_ms[best] * _WORTH_IT:
            best = at
    return sizes[best]
