"""Systems of the replay that only count: clicks of the last hour, pairs within sessions; no training at all."""

from collections import deque
from heapq import nlargest

import numpy as np
import numpy.typing as npt

from upnext.ingest.columns import EventColumns
from upnext.training.splits import Mask

WINDOW_MS = 60 * 60_000


class Popular60Min:
    """Most interactions in the last sixty minutes, an exact sliding window: (now - 60 min, now]; ties by recency."""

    name = "popular_60min"

    def __init__(self, columns: EventColumns) -> None:
        self._items: list[int] = columns.item.tolist()
        self._times_ms: list[int] = columns.timestamp_ms.tolist()
        self._window: deque[int] = deque()
        self._counts: dict[int, int] = {}
        self._newest: dict[int, int] = {}

    def warm(self, mask: Mask) -> None:
        for i in np.flatnonzero(mask).tolist():
            self.observe(i)

    def observe(self, i: int) -> None:
        self._forget(self._times_ms[i] - WINDOW_MS)
        item = self._items[i]
        self._window.append(i)
        self._counts[item] = self._counts.get(item, 0) + 1
        self._newest[item] = i

    def rank(self, i: int, k: int) -> npt.NDArray[np.int32]:
        self._forget(self._times_ms[i] - WINDOW_MS)
        newest = self._newest
        best = nlargest(k, self._counts.items(), key=lambda entry: (entry[1], newest[entry[0]]))
        return np.array([item for item, _ in best], dtype=np.int32)

    def _forget(self, until_ms: int) -> None:
        """Leave out of the window what happened at or before `until_ms`."""
        window, times_ms, counts = self._window, self._times_ms, self._counts
        while window and times_ms[window[0]] <= until_ms:
            item = self._items[window.popleft()]
            counts[item] -= 1
            if not counts[item]:
                del counts[item], self._newest[item]


class StreamCovisit:
    """What was clicked right before or after the session's last item, in any session so far, most often first.

    Ties go to the pair seen last. Fewer than k items, possibly none, where the last item was hardly ever seen.
    """

    name = "covisit"

    def __init__(self, columns: EventColumns) -> None:
        self._items: list[int] = columns.item.tolist()
        self._sessions: list[int] = columns.session.tolist()
        self._last: dict[int, int] = {}
        # item -> neighbour -> count and newest event, packed into one number that sorts by both.
        self._pairs: dict[int, dict[int, int]] = {}

    def warm(self, mask: Mask) -> None:
        for i in np.flatnonzero(mask).tolist():
            self.observe(i)

    def observe(self, i: int) -> None:
        session, item = self._sessions[i], self._items[i]
        if not session:
            return
        before = self._last.get(session, item)
        self._last[session] = item
        if before != item:
            for one, other in ((before, item), (item, before)):
                neighbours = self._pairs.setdefault(one, {})
                neighbours[other] = ((neighbours.get(other, 0) >> 32) + 1) << 32 | i

    def rank(self, i: int, k: int) -> npt.NDArray[np.int32]:
        last = self._last.get(self._sessions[i], -1)
        neighbours = self._pairs.get(last, {})
        return np.array(nlargest(k, neighbours, key=neighbours.__getitem__), dtype=np.int32)
