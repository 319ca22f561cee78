"""Which regions take the fast path for a while because their p99 was too high: one answer for all workers of a machine.

Knows no store: what is raised here is handed out, to be told to other machines, and what they raised is put in.
"""

import math
import zlib
from collections import deque
from contextlib import AbstractContextManager
from pathlib import Path

from upnext.clock import Clock
from upnext.settings import PressureSettings
from upnext.shared_memory import Words, create_words, shared_file

_MAGIC = b"upnext guard 1\0\0"
_HEAD_WORDS = 2
_SLOTS = 1 << 20
_PARTS = 10  # of the window; the oldest is forgotten as a whole


def shared_guard() -> AbstractContextManager[Path]:
    """The file by which the workers of one server share their guard; for the parent process. Removed at the end."""
    return shared_file("guard", create_guard)


def create_guard(path: Path) -> None:
    """A guard that is on for no region: 8 MiB, of which only what is touched takes memory, 4 KiB for each region."""
    create_words(path, _MAGIC, _HEAD_WORDS + _SLOTS)


class _Region:
    """Where a region's slot is, and how many of its requests in the window were too slow."""

    __slots__ = ("name", "parts", "requests", "slow", "word")

    def __init__(self, name: str) -> None:
        self.name = name
        self.word = _HEAD_WORDS + zlib.crc32(name.encode("utf-8", "surrogatepass")) % _SLOTS
        self.clear()

    def clear(self) -> None:
        self.parts: deque[list[int]] = deque()  # number of the part, requests, slow ones
        self.requests = self.slow = 0

    def count(self, part: int, slow: bool) -> None:
        parts = self.parts
        if not parts or parts[-1][0] != part:
            parts.append([part, 0, 0])
            while parts[0][0] <= part - _PARTS:
                _, requests, slow_ones = parts.popleft()
                self.requests -= requests
                self.slow -= slow_ones
        parts[-1][1] += 1
        parts[-1][2] += slow
        self.requests += 1
        self.slow += slow


class Guard:
    """The p99 of a region above its threshold: fast path there for a minute, then it is looked at anew.

    That a p99 is above a threshold means just that more than 1 % of the requests were, so two counts are kept and no
    histogram. A worker judges by its own requests, and what it raises holds for all.

    The file holds a 64-bit word for each slot: until when the guard is on, in nanoseconds of the monotonic clock,
    0 for never. `SystemClock.monotonic_ms` is CLOCK_MONOTONIC, one clock for all processes since the machine
    started, and unlike the date it never jumps, so a guard lasts as long as it should; the file does not outlive the
    server, so the clock does not start anew within it. Between machines that clock means nothing: `raised` and
    `turn_on` speak of the date. A word is read and written whole, being aligned. Two workers that raise at once write
    nearly the same, and the loss of either hurts nobody, so there is no lock.

    A region's slot is a hash of its name. Of n regions two share one, and so their guard, with a chance of about
    n² / 2²¹: 0.5 % of a hundred. Regions past the bound of `settings.regions` are one to this worker, named "", as is
    None.

    For one thread of each process.
    """

    def __init__(self, path: Path, settings: PressureSettings, clock: Clock) -> None:
        """Opens what `create_guard` made. Raises `SettingsError` when it is something else."""
        self._settings = settings
        self._clock = clock
        self._part_ms = settings.guard_window_ms / _PARTS
        self._quiet_until_ms = clock.monotonic_ms() + settings.guard_quiet_ms
        self._file = Words(path, _MAGIC, _HEAD_WORDS + _SLOTS, "file of a guard")
        self._words = self._file.words
        self._rest = _Region("")
        self._regions: dict[str | None, _Region] = {None: self._rest, "": self._rest}
        self._most = len(self._regions) + settings.regions
        self._raised: list[tuple[str, int]] = []

    def observe(self, region: str | None, total_ms: float) -> None:
        """A request of `region` took so long. While the guard is on there, and in the quiet time, nothing is counted:
        how the fast path and a cold start do is no reason."""
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._quiet_until_ms:
            return
        there = self._regions.get(region) or self._claim(region)
        if self._words[there.word] > now_ms * 1e6:
            if there.requests:
                there.clear()
            return
        settings = self._settings
        there.count(int(now_ms // self._part_ms), total_ms > settings.guard_p99_ms)
        if there.slow * 100 > there.requests >= settings.guard_least_requests:
            self._put(there, now_ms, settings.guard_on_ms)
            self._raised.append((there.name, self._clock.now_ms() + math.ceil(settings.guard_on_ms)))

    def is_on(self, region: str | None) -> bool:
        """Whether a request of `region` takes the fast path now. 0.1 µs where not, 0.3 µs where so."""
        there = self._regions.get(region) or self._claim(region)
        until_ns = self._words[there.word]
        return until_ns != 0 and until_ns > self._clock.monotonic_ms() * 1e6

    def turn_on(self, region: str | None, until_ms: int) -> None:
        """Another machine raised the guard for `region` until a date in milliseconds since 1970.

        It is never on for longer than one that is raised here, whatever the other's clock says, and never shortened.
        """
        left_ms = min(until_ms - self._clock.now_ms(), self._settings.guard_on_ms)
        self._put(self._regions.get(region) or self._claim(region), self._clock.monotonic_ms(), left_ms)

    def raised(self) -> list[tuple[str, int]]:
        """What this worker raised since it was last asked: regions, and the date until when, in ms since 1970."""
        raised, self._raised = self._raised, []
        return raised

    def close(self) -> None:
        """The guard is not to be used again."""
        self._file.close()

    def _put(self, there: _Region, now_ms: float, left_ms: float) -> None:
        until_ns = int((now_ms + left_ms) * 1e6)
        self._words[there.word] = max(self._words[there.word], until_ns)

    def _claim(self, region: str | None) -> _Region:
        if region is None or len(self._regions) >= self._most:
            return self._rest
        there = self._regions[region] = _Region(region)
        return there
