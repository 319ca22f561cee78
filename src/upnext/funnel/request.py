"""What a request asks of the funnel, in item rows; knows nothing of JSON."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upnext.state.context_trends import NOTHING, Context

Rows = npt.NDArray[np.int32]
_UNKNOWN = "?"
_NO_ROWS: Rows = np.empty(0, np.int32)


@dataclass(slots=True, frozen=True)
class SlateRequest:
    """One slate of `k` items for one subject (None: nobody in particular)."""

    subject: str | None
    k: int
    surface: str = ""
    mode: str = ""  # scroll, browse or dwell: how deep a look is worth its time
    quality: float = 1.0  # 0 … 1: the share of candidates and depth that the load leaves room for
    most: str = "full"  # the best tier to go for: full, fast or popular
    exclude_rows: Rows = field(default_factory=lambda: _NO_ROWS)
    allowed: npt.NDArray[np.bool_] | None = None  # (n_items,); None: every available item
    region: str = ""  # the two that `allowed` was made of
    genres: tuple[str, ...] = ()  # sorted
    context: Context = NOTHING  # circumstances told with the request, see `ContextTrends`


def known_names(names: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Sorted and distinct, all that are not `known` as one: they select the same, and nothing made up is kept."""
    return tuple(sorted({name if name in known else _UNKNOWN for name in names}))
