"""An event log that remembers what this process appended of late, so that its consumers need not decode it again."""

import threading
from collections.abc import Iterator, Sequence

from upnext.domain.event import Event
from upnext.ingest.log_interface import EventLog

_MOST = 10_000  # events remembered


class RecentLog:
    """An `EventLog` over another one. What other processes append, and what is older, is read from that one."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._recent: list[tuple[int, Event]] = []  # numbers without a gap; replaced, never changed
        self._remembering = threading.Lock()

    def append(self, events: Sequence[Event]) -> list[int | None]:
        numbers = self._log.append(events)
        new = [(number, event) for number, event in zip(numbers, events, strict=True) if number is not None]
        if new:
            with self._remembering:
                joins = self._recent and self._recent[-1][0] + 1 == new[0][0]
                self._recent = ((self._recent if joins else []) + new)[-_MOST:]
        return numbers

    def read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        recent = self._recent
        if recent and recent[0][0] <= after + 1 <= recent[-1][0]:
            begin = after + 1 - recent[0][0]
            return recent[begin : begin + limit]
        return self._log.read(after, limit)

    def scan(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        return self._log.scan(after)

    def last(self) -> int:
        return self._log.last()

    def identity(self) -> str:
        return self._log.identity()

    def count(self) -> int:
        return self._log.count()

    def of_subject(self, subject: str) -> list[tuple[int, Event]]:
        return self._log.of_subject(subject)

    def forget(self, subjects: Sequence[str]) -> int:
        """As promised by `EventLog`; another process that forgets is heeded once this one's memory has moved on."""
        erased = self._log.forget(subjects)
        with self._remembering:
            self._recent = []
        return erased

    def close(self) -> None:
        self._recent = []
        self._log.close()
