"""What of a sweep is worth serving: the Pareto front, and the fastest that is good enough; measures nothing."""

import math
from collections.abc import Callable, Sequence

from upnext.compress.sweep import SweepRow
from upnext.errors import ParityError

EQUALLY_FAST = 1.02
"""Medians closer than this are one speed; the smaller graph is then taken."""


def choose(
    rows: Sequence[SweepRow], *, within: float, shallow_within: float, min_rank_agreement: float = -1.0
) -> dict[int, SweepRow]:
    """For each exit the fastest row whose NDCG@10 is near enough to the best of all rows, by depth.

    A row within one standard error of the best is near enough, since the best of many is so by luck too: the rule of
    Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees", 1984. Beyond that the deepest exit may
    lose `within` of its own best, the shallowest `shallow_within`, those between them in proportion to their rank. A
    shallower exit is faster than the next deeper one wherever it can be, or nobody would leave there; one that never
    comes so near may lose `within` of its own best. Only rows of the largest number of candidates are looked at, and of
    them those that agree with their trained ranker (at least `min_rank_agreement`). Raises ParityError when none of an
    exit agrees.
    """
    most = max(row.candidates for row in rows)
    sound = [row for row in rows if row.candidates == most and row.rank_agreement >= min_rank_agreement]
    depths = sorted({row.exit_depth for row in rows}, reverse=True)
    best = max((row.ndcg for row in sound), default=0.0)
    chosen: dict[int, SweepRow] = {}
    for number, depth in enumerate(depths):
        of_exit = [row for row in sound if row.exit_depth == depth]
        if not of_exit:
            raise ParityError(
                f"no graph of exit {depth} ranks like the trained ranker (agreement of at least "
                f"{min_rank_agreement:.4f}); calibrate on lists that look more like the requests, or try float32"
            )
        limit_us = min((row.p50_us for row in chosen.values()), default=math.inf)
        faster = [row for row in of_exit if row.p50_us < limit_us] or [fastest(of_exit)]
        allowed = within + (shallow_within - within) * number / max(1, len(depths) - 1)
        own_best = max(row.ndcg for row in faster)
        # A deepest exit that is not the best has no reason to be slow for the sake of another.
        good = [row for row in faster if near_enough(row, best if number else own_best, allowed)]
        chosen[depth] = fastest(good or [row for row in faster if row.ndcg >= (1 - within) * own_best])
    return dict(sorted(chosen.items()))


def near_enough(row: SweepRow, best: float, allowed: float) -> bool:
    """Whether a row loses no more than that share of the best, or than its standard error."""
    return row.ndcg >= best - max(allowed * best, row.error)


def fastest(rows: Sequence[SweepRow]) -> SweepRow:
    """The row with the smallest median; of equally fast ones that with the fewest bytes."""
    limit_us = EQUALLY_FAST * min(row.p50_us for row in rows)
    near = [row for row in rows if row.p50_us <= limit_us]
    return min(near, key=lambda row: (row.graph_bytes, row.item_bytes, row.p50_us))


def pareto_front(rows: Sequence[SweepRow], cost: Callable[[SweepRow], float]) -> list[SweepRow]:
    """The rows that no other beats, the cheapest first: each is better than all that cost as much or less."""
    front: list[SweepRow] = []
    for row in sorted(rows, key=lambda row: (cost(row), -row.ndcg)):
        if not front or row.ndcg > front[-1].ndcg:
            front.append(row)
    return front
