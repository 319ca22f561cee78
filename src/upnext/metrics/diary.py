"""The slowest requests of the last hour with what their time went into; knows no stage and no funnel.

Each worker keeps its own few in memory, and puts them where the others find them when it is told to.
"""

import gc
import os
import threading
from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from upnext.clock import Clock

SLOT_MS = 5 * 60_000
SLOTS = 12
"""An hour, forgotten five minutes at a time."""
KEPT_PER_SLOT = 20
_SUFFIX = ".slow"


class SlowRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was among the slowest of its five minutes."""

    at_ms: int  # when it was answered
    request_id: str
    subject: str | None
    surface: str
    tier: str
    route: str
    exit: str
    n_interactions: int
    total_ms: float
    timing_ms: dict[str, float]  # by stage, `total` left out
    gc_ms: float  # that the collector of garbage ran meanwhile, in whatever stage
    cause: str  # what most of its time went into: see `cause_of`
    degraded: list[str] = []  # stage: why
    release: str = ""
    worker: int = 0  # its process


_CAUSES = {"queue": "queue", "state": "store", "retrieval": "index", "ranking": "ranker", "reranking": "rules"}
_entries = msgspec.msgpack.Decoder(list[SlowRequest])


def cause_of(timing_ms: Mapping[str, float], total_ms: float, gc_ms: float) -> str:
    """`queue`, `store`, `index`, `ranker`, `rules`, `gc`, or `waiting` for time in no stage: what took most of it.

    The collector is blamed where it ran for half of the time or more, in whatever stage that was.
    """
    if 2 * gc_ms >= total_ms:
        return "gc"
    spent_ms = {_CAUSES.get(stage, stage): ms for stage, ms in timing_ms.items() if stage != "total"}
    spent_ms["waiting"] = total_ms - sum(spent_ms.values())
    return max(spent_ms, key=lambda cause: spent_ms[cause])


class GcPauses:
    """When the collector of garbage ran lately in this process, by the clock that requests are timed with."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ms = 0.0
        self._pauses: deque[tuple[float, float]] = deque(maxlen=256)

    def start(self) -> None:
        """Begins to watch; at most once."""
        gc.callbacks.append(self._ran)

    def stop(self) -> None:
        """Ends watching, if it has begun."""
        if self._ran in gc.callbacks:
            gc.callbacks.remove(self._ran)

    def within_ms(self, begin_ms: float, end_ms: float) -> float:
        """Milliseconds of collection between two moments."""
        overlaps = (min(end, end_ms) - max(begin, begin_ms) for begin, end in list(self._pauses))
        return sum(max(each, 0.0) for each in overlaps)

    def _ran(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began_ms = self._clock.monotonic_ms()
        else:
            self._pauses.append((self._began_ms, self._clock.monotonic_ms()))


class Diary:
    """The slowest of one worker and, read from `folder`, of all others. Every method may be called from any thread.

    Ask `least_ms` before making an entry: nothing faster than that would be kept.
    """

    def __init__(self, clock: Clock, folder: Path | None, name: str) -> None:
        """`name` tells the diaries of one process apart; without a `folder` there is this one alone."""
        self.least_ms = 0.0  # of the five minutes under way
        self._clock = clock
        self._folder = folder
        self._name = name
        self._slots: deque[tuple[int, list[SlowRequest]]] = deque(maxlen=SLOTS)  # slowest last
        self._published = self._changed = 0
        self._lock = threading.Lock()  # for the few that are noted, not for those that are quick

    def note(self, entry: SlowRequest) -> None:
        """Keeps it where it is among the slowest of its five minutes."""
        with self._lock:
            slot = entry.at_ms // SLOT_MS
            if not self._slots or self._slots[-1][0] < slot:
                self._slots.append((slot, []))
            entries = self._slots[-1][1]
            insort(entries, entry, key=lambda each: each.total_ms)
            if len(entries) > KEPT_PER_SLOT:
                entries.pop(0)
            self._changed += 1
            self._turn()

    def turn(self) -> None:
        """Lets go of what is over: to be called now and then, also where nothing is slow."""
        with self._lock:
            self._turn()

    def _turn(self) -> None:
        slot = self._clock.now_ms() // SLOT_MS
        while self._slots and self._slots[0][0] <= slot - SLOTS:
            self._slots.popleft()
            self._changed += 1
        current = self._slots[-1][1] if self._slots and self._slots[-1][0] == slot else []
        self.least_ms = current[0].total_ms if len(current) >= KEPT_PER_SLOT else 0.0

    def publish(self) -> None:
        """Puts it where the other workers find it, if it has changed. Raises `OSError`."""
        self.turn()
        if self._folder is None or self._published == self._changed:
            return
        self._published, entries = self._changed, self._own()
        path = self._folder / f"{os.getpid()}-{self._name}{_SUFFIX}"
        half_written = path.with_suffix(".writing")
        half_written.write_bytes(msgspec.msgpack.encode(entries))
        half_written.replace(path)

    def all(self, most: int) -> list[SlowRequest]:
        """The slowest of all workers in the last hour, slowest first, those of dead workers too."""
        oldest_ms = self._clock.now_ms() - SLOTS * SLOT_MS
        found = [each for each in [*self._own(), *self._others(oldest_ms)] if each.at_ms > oldest_ms]
        return sorted(found, key=lambda each: -each.total_ms)[:most]

    def _own(self) -> list[SlowRequest]:
        with self._lock:
            return [each for _, entries in self._slots for each in entries]

    def _others(self, oldest_ms: int) -> Iterable[SlowRequest]:
        """Also removes what workers left behind that have not been slow, or not been, for an hour."""
        if self._folder is None:
            return
        own = f"{os.getpid()}-"
        for path in self._folder.glob(f"*-{self._name}{_SUFFIX}"):
            if path.name.startswith(own):
                continue
            try:
                entries = _entries.decode(path.read_bytes())
            except FileNotFoundError:  # another worker was as quick to remove it
                continue
            if all(each.at_ms <= oldest_ms for each in entries):
                path.unlink(missing_ok=True)
            yield from entries
