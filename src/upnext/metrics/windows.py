"""What was counted lately: the growth of totals from one look at them to the next; knows no family and no thread."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from upnext.metrics.cells import Cell, Words
from upnext.metrics.workers import Totals


@dataclass(frozen=True)
class Window:
    """What was counted in some seconds: words as of `Totals.counts`, of those cells alone that grew."""

    covers_s: float = 0.0  # 0: nothing is known yet
    counts: Mapping[Cell, Words] = field(default_factory=dict)


class _Growth(NamedTuple):
    """Of one cell. A histogram grows in few of its many words, so only those are kept."""

    n_words: int  # of the cell
    places: npt.NDArray[np.intp]  # of the words that grew
    by: Words


class _Step(NamedTuple):
    """From one look to the next."""

    begin_ms: float
    end_ms: float
    grown: dict[Cell, "_Growth"]


class Windows:
    """Looks at totals that only grow, and the differences between them. For one thread at a time."""

    def __init__(self, longest_s: float, most_gap_s: float) -> None:
        """Remembers `longest_s`. After more than `most_gap_s` without a look it begins anew: what was counted
        meanwhile would all seem to be of just now."""
        self._longest_ms = longest_s * 1e3
        self._most_gap_ms = most_gap_s * 1e3
        self._steps: deque[_Step] = deque()
        self._last: tuple[float, dict[Cell, Words]] | None = None

    def add(self, totals: Totals, at_ms: float) -> Window | None:
        """One look, at a moment on a clock that never goes back; what grew since the one before, None after none."""
        before, self._last = self._last, (at_ms, dict(totals.counts))
        if before is None or at_ms - before[0] > self._most_gap_ms:
            self._steps.clear()
            return None
        step = _Step(before[0], at_ms, _grown(before[1], totals.counts))
        self._steps.append(step)
        while self._steps[0].end_ms <= at_ms - self._longest_ms:
            self._steps.popleft()
        return self._window([step])

    def over(self, window_s: float) -> Window:
        """What was counted in about the last `window_s` before the last look."""
        if not self._steps:
            return Window()
        begin_ms = self._steps[-1].end_ms - window_s * 1e3
        return self._window([step for step in self._steps if step.end_ms > begin_ms])

    def _window(self, steps: list[_Step]) -> Window:
        counts: dict[Cell, Words] = {}
        for step in steps:
            for cell, growth in step.grown.items():
                words = counts.setdefault(cell, np.zeros(growth.n_words))
                words[growth.places] += growth.by
        return Window((steps[-1].end_ms - steps[0].begin_ms) / 1e3, counts)


def _grown(before: Mapping[Cell, Words], after: Mapping[Cell, Words]) -> dict[Cell, _Growth]:
    found = {}
    for cell, words in after.items():
        by = words - before[cell] if cell in before else words
        places = np.flatnonzero(by > 0)
        if len(places):
            found[cell] = _Growth(len(words), places, by[places])
    return found
