"""The promise every event log keeps: durable, ordered, de-duplicated; knows nothing of what events mean."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from upnext.domain.event import Event


class EventLog(Protocol):
    """Accepted events in one order. Safe to call from many threads and many processes."""

    def identity(self) -> str:
        """A random name made with the log and kept in it: a place in one log means nothing in another."""

    def append(self, events: Sequence[Event]) -> list[int | None]:
        """Durably appends, all or none, and returns each event's sequence number (from 1 up, increasing).

        An event whose `event_id` (within its tenant) is already in the log, or earlier in `events`, is left out: None.
        Returns only when the events survive a power failure. Raises `StoreError`, having appended nothing, when the
        disk is full; the same again is welcome when it no longer is.
        """

    def read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        """Up to `limit` events with sequence numbers above `after`, in order; [] when there are none yet.

        None in between is left out; but there may be more of them though it gives fewer than `limit`.

        Erased events are passed over, however many: [] always means the end of the log.
        """

    def scan(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """All events with sequence numbers above `after`, in order, in bounded memory."""

    def of_subject(self, subject: str) -> list[tuple[int, Event]]:
        """All events of one subject, as `subject_of` names it (`u:ann`), in order; found without reading others'."""

    def forget(self, subjects: Sequence[str]) -> int:
        """Durably erases all events of these subjects and returns how many there were.

        Their numbers are never given out again, `last` does not go back, and their ids stay known, so that a late
        copy of an erased event is left out. Erased together, or, where they are many, in a few durable steps: after a
        failure in between, calling again completes it.
        """

    def count(self) -> int:
        """How many events are in the log, without those erased."""

    def last(self) -> int:
        """The highest sequence number given out, 0 for an empty log."""

    def close(self) -> None:
        """Releases what is held; closing twice is fine."""
