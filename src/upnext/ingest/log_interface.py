"""The promise every event log keeps: durable, ordered, de-duplicated; knows nothing of what events mean."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from upnext.domain.event import Event


class EventLog(Protocol):
    """Accepted events in one order. Safe to call from many threads and many processes."""

    def append(self, events: Sequence[Event]) -> list[int | None]:
        """Durably appends, all or none, and returns each event's sequence number (from 1 up, increasing).

        An event whose `event_id` (within its tenant) is already in the log, or earlier in `events`, is left out: None.
        Returns only when the events survive a power failure.
        """

    def read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        """Up to `limit` events with sequence numbers above `after`, in order; [] when there are none yet."""

    def scan(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """All events with sequence numbers above `after`, in order, in bounded memory."""

    def last(self) -> int:
        """The highest sequence number given out, 0 for an empty log."""

    def close(self) -> None:
        """Releases what is held; closing twice is fine."""
