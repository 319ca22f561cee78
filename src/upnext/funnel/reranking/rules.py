"""The rules, each a small pure function over a ranking; deterministic, no inference, no clock."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import UNKNOWN_MS

Rows = npt.NDArray[np.int32]
Order = npt.NDArray[np.intp]  # positions in the ranking, in the new order


def boosted(
    published_ms: npt.NDArray[np.int64],
    promoted: npt.NDArray[np.bool_],
    now_ms: int,
    *,
    fresh_ms: int,
    fresh_places: int,
    promoted_places: int,
) -> Order | None:
    """The order in which fresh and promoted items have moved up; None when nothing moves.

    An item is fresh when it was published less than `fresh_ms` ago, and not in the future; two boosts add up. A boosted
    item goes before those of the `places` items above it that are not boosted themselves, and before no other of them.
    So nothing gets further up than its places say.
    """
    fresh = (published_ms > now_ms - fresh_ms) & (published_ms <= now_ms) & (published_ms != UNKNOWN_MS)
    if not (fresh.any() or promoted.any()):
        return None
    places = fresh * fresh_places + promoted * promoted_places
    return np.argsort(np.arange(len(places)) - places - (places > 0) * 0.5, kind="stable")


def spaced(genres: Sequence[int], k: int, *, gap: int, lookahead: int) -> list[int]:
    """The first `k` positions so that items of one genre have at least `gap` others between them.

    `genres` are those of the ranking, best first; negative ones match nothing. At each place the best item that fits is
    taken, looking at the best `lookahead` that are left; when none of them fits, the best of all is. No more than the
    first `k + lookahead` genres are ever looked at.
    """
    n = min(k, len(genres))
    first = next((at for at in range(n) if genres[at] >= 0 and genres[at] in genres[max(at - gap, 0) : at]), n)
    chosen = list(range(first))  # as it is, up to the first that does not fit
    left = list(range(first, min(len(genres), k + lookahead)))
    recent = list(genres[max(first - gap, 0) : first])  # genres of the last `gap` places
    for _ in range(n - first):
        at = 0
        for at in range(min(lookahead, len(left))):
            genre = genres[left[at]]
            if genre < 0 or genre not in recent:
                break
        else:
            at = 0
        position = left.pop(at)
        chosen.append(position)
        recent.append(genres[position])
        if len(recent) > gap:
            del recent[0]
    return chosen


def with_pins(rows: Sequence[int], pinned: Sequence[int], k: int) -> list[int]:
    """`pinned` first, in their order, then the others; at most `k`, none twice."""
    first = list(dict.fromkeys(pinned))[:k]
    pins = set(first)
    return first + [row for row in rows if row not in pins][: k - len(first)]
