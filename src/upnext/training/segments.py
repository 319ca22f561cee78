"""Which cases are of whom and about what: new and heavy users, hits and rarities; knows no system and no metric."""

import numpy as np
import numpy.typing as npt

from upnext.training.splits import Mask

COLD_BELOW = 5
"""Users with fewer interactions before the case are cold; the content source serves them until then by default."""
HEAVY_SHARE = 0.1
"""At most so many of the cases, those of the longest histories, are of heavy users."""
HEAD_SHARE = 0.2
"""The most popular items that together have this share of the training interactions are the head."""


def segments_of(
    n_before: npt.NDArray[np.integer], targets: npt.NDArray[np.integer], counts: npt.NDArray[np.integer]
) -> dict[str, Mask]:
    """Which cases are in each segment, (n_cases,) bool by name; segments without a case are left out.

    `n_before` (n_cases,): interactions of the user before the case; `targets` (n_cases,): item rows; `counts`
    (n_items,): interactions of each item in the training period. Users are either cold, warm or heavy, targets either
    of the head, of the tail or new, which is never met in training.
    """
    cold = n_before < COLD_BELOW
    heavy = ~cold & (n_before >= _heavy_from(n_before))
    head_items = _head(counts)
    new, head = counts[targets] == 0, head_items[targets]
    segments: dict[str, Mask] = {
        "users cold": cold,
        "users warm": ~cold & ~heavy,
        "users heavy": heavy,
        "items head": head,
        "items tail": ~head & ~new,
        "items new": new,
    }
    return {name: mask for name, mask in segments.items() if mask.any()}


def _heavy_from(n_before: npt.NDArray[np.integer]) -> int:
    """The shortest history of which at most HEAVY_SHARE of the cases are as long or longer."""
    ordered = np.sort(n_before)[::-1]
    first_out = ordered[min(int(len(ordered) * HEAVY_SHARE), len(ordered) - 1)] if len(ordered) else 0
    return int(first_out) + 1


def _head(counts: npt.NDArray[np.integer]) -> Mask:
    """The short head: most popular items first until HEAD_SHARE of all interactions is reached (n_items,).

    As in Abdollahpouri, Burke and Mobasher, FLAIRS 2019.
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    head: Mask = np.zeros(len(counts), dtype=bool)
    head[order] = (before < HEAD_SHARE * counts.sum()) & (counts[order] > 0)
    return head
