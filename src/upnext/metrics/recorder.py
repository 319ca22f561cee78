"""Counting what a server process does, cheaply; knows no HTTP."""

import os
import threading
from collections import defaultdict
from collections.abc import Mapping

from upnext.metrics.cells import Cell, Cells, Kind, Labels
from upnext.metrics.exposition import CONTENT_TYPE, exposition_of
from upnext.metrics.names import (
    BREAKERS,
    BY_HISTORY,
    BY_REGION,
    BY_TIER,
    DEGRADED,
    GAUGES,
    HISTORIES,
    INGESTED,
    LONGEST_HISTORY,
    REFUSED,
    REJECTED,
    REQUESTS,
    STAGES,
    CounterName,
    TimesName,
)
from upnext.metrics.sketches import N_BINS, bin_of
from upnext.metrics.workers import Totals, shared_directory, totals_of_all

# Of one family. Labels come from code, but for regions; past so many, memory stays bounded and the rest is `other`.
MOST_SERIES = 200

_NO_TIMES: Mapping[str, float] = {}
_GAUGES = {gauge.name for gauge in GAUGES}


class Metrics:
    """The counts of one process, made once and handed down. Every method may be called from any thread.

    When the process was started under `share_between_workers`, counts are kept where all workers see them and every
    worker's `totals` speak for all. Counting a time takes less than a microsecond.
    """

    content_type = CONTENT_TYPE

    def __init__(self) -> None:
        self.folder = shared_directory()  # where workers leave what all may read; None alone
        self._cells = Cells(self.folder, str(os.getpid()))
        self._words = self._cells.words
        self._lock = threading.Lock()  # adding to a word is a read and a write
        # By family, then by labels; of one label alone its text, which is looked up quicker.
        self._at: dict[str, dict[str | Labels, int]] = defaultdict(dict)

    def count_request(
        self,
        tier: str,
        route: str,
        timing_ms: Mapping[str, float] = _NO_TIMES,
        *,
        region: str = "",
        n_interactions: int = 0,
    ) -> None:
        """One request was answered; how long its stages took, and under `total` the whole of it."""
        with self._lock:
            self._add(REQUESTS, (tier, route), 1.0)
            for stage, ms in timing_ms.items():
                self._record(STAGES, stage, ms)
            total_ms = timing_ms.get("total")
            if total_ms is not None:
                self._record(BY_TIER, (tier, route), total_ms)
                self._record(BY_REGION, region, total_ms)
                self._record(BY_HISTORY, history_of(n_interactions), total_ms)

    def observe_stage(self, stage: str, spent_ms: float) -> None:
        """One passage through a stage took `spent_ms`."""
        with self._lock:
            self._record(STAGES, stage, spent_ms)

    def count_degraded(self, stage: str, why: str) -> None:
        """A stage was skipped, cut short or replaced in one request."""
        self._count(DEGRADED, (stage, why))

    def count_rejected(self, reason: str) -> None:
        """One event was refused; `reason` is the short code of the ContractError."""
        self._count(REJECTED, (reason,))

    def count_ingested(self, accepted: int, duplicates: int = 0, withheld: int = 0) -> None:
        """Events of one request: newly durable, there already, and let go for want of consent."""
        for outcome, count in (("accepted", accepted), ("duplicate", duplicates), ("withheld", withheld)):
            if count:
                self._count(INGESTED, (outcome,), count)

    def count_refused(self, why: str) -> None:
        """A request was refused at the door: `unauthorized`, `forbidden`, `unknown_tenant`, `rate_limited`."""
        self._count(REFUSED, (why,))

    def count_breaker(self, name: str, state: str) -> None:
        """A circuit breaker is in another state now: `closed`, `open`, `half_open`."""
        self._count(BREAKERS, (name, state))

    def set_gauge(self, name: str, value: float, tenant: str = "default", *further: str) -> None:
        """A gauge of `names.GAUGES` stands at `value` for a tenant and its `further` labels. KeyError for others."""
        if name not in _GAUGES:
            raise KeyError(f"there is no gauge {name}; name it in metrics/names.py")
        with self._lock:
            self._words[self._place("gauge", name, (tenant, *further), 1)] = value

    def totals(self) -> Totals:
        """All counts since the server started; of all workers, living and dead, where they share. Milliseconds."""
        if self.folder is not None:
            return totals_of_all(self.folder)
        totals = Totals()
        with self._lock:
            for cell, words in self._cells.read():
                totals.add(cell, words)
        return totals

    def exposition(self) -> bytes:
        """`totals` in Prometheus text."""
        return exposition_of(self.totals())

    def _count(self, counter: CounterName, labels: Labels, by: float = 1.0) -> None:
        with self._lock:
            self._add(counter, labels, by)

    def _add(self, counter: CounterName, labels: Labels, by: float) -> None:
        at = self._at[counter.name].get(labels)
        self._words[self._place("counter", counter.name, labels, 1) if at is None else at] += by

    def _record(self, times: TimesName, labels: str | Labels, ms: float) -> None:
        at = self._at[times.name].get(labels)
        if at is None:
            at = self._place("histogram", times.name, labels, 1 + N_BINS)
        self._words[at] += ms
        self._words[at + 1 + bin_of(ms)] += 1.0

    def _place(self, kind: Kind, family: str, labels: str | Labels, n_words: int) -> int:
        known = self._at[family]
        at = known.get(labels)
        if at is not None:
            return at
        names = (labels,) if isinstance(labels, str) else labels
        if len(known) >= MOST_SERIES:
            return self._cells.place(Cell(kind, family, ("other",) * len(names)), n_words)
        at = known[labels] = self._cells.place(Cell(kind, family, names), n_words)
        return at


def history_of(n_interactions: int) -> str:
    """What users with so many interactions are counted as."""
    for most, name in HISTORIES:
        if n_interactions <= most:
            return name
    return LONGEST_HISTORY
