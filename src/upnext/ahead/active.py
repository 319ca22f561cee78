"""Who has been active of late, by the events of the log; knows nothing of shortlists."""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from upnext.domain.event import Event
from upnext.domain.identity import subject_of
from upnext.ingest.log_interface import EventLog

_TELL_EVERY = 10_000  # events
_ROUNDING = 1e-9  # 0.29 of 100 users are 29, whatever their product is in binary


@dataclass(slots=True, frozen=True)
class ActiveUser:
    """One of the most active users."""

    subject: str
    n_events: int
    region: str  # of their newest event that names one, "" for none
    head: bool  # one of the very most active, whose shortlist is to be kept at hand


class _Seen:
    """What is kept of one user."""

    __slots__ = ("n_events", "region", "region_ms")

    def __init__(self) -> None:
        self.n_events = 0
        self.region = ""
        self.region_ms = -math.inf


class Activity:
    """Counts events by user: one small entry per active user, however many events there are."""

    def __init__(self, since_ms: int) -> None:
        """Events that happened before `since_ms` do not count."""
        self._since_ms = since_ms
        self._users: dict[str, _Seen] = {}

    def __len__(self) -> int:
        """How many users were active."""
        return len(self._users)

    def add(self, event: Event) -> None:
        """Counts an event, unless it is old, withheld from use, or of a session whose user is not known."""
        if not _counts(event) or event.timestamp_ms < self._since_ms:
            return
        subject = subject_of(event.user_id, event.session_id)
        assert subject is not None
        seen = self._users.get(subject)
        if seen is None:
            seen = self._users[subject] = _Seen()
        seen.n_events += 1
        region = event.context.get("region")
        if isinstance(region, str) and event.timestamp_ms >= seen.region_ms:
            seen.region, seen.region_ms = sys.intern(region), event.timestamp_ms

    def most_active(self, share: float, *, pinned_share: float = 0.0, limit: int | None = None) -> list[ActiveUser]:
        """The top `share` of all active users, most events first, ties by subject; at most `limit` of them.

        At least one where there is any; the top `pinned_share` of all active ones are of the head.
        """
        order = sorted(self._users.items(), key=lambda each: (-each[1].n_events, each[0]))
        n = _share_of(len(order), share)
        pinned = _share_of(len(order), pinned_share)
        chosen = order[: n if limit is None else min(n, limit)]
        return [
            ActiveUser(subject, seen.n_events, seen.region, place < pinned)
            for place, (subject, seen) in enumerate(chosen)
        ]


def activity_of(
    event_log: EventLog, span_ms: int, *, until: int, tell: Callable[[int, int], None] = lambda done, total: None
) -> Activity:
    """The activity of the last `span_ms` before the newest event, going by the log up to event number `until`.

    Reads the log twice, since an import may append what is older than what was there: once for the newest event's
    date, once to count. `tell` hears now and then how far it is; what it raises passes through.
    """
    newest_ms = max((event.timestamp_ms for event in _scan(event_log, until, 0, tell) if _counts(event)), default=0)
    activity = Activity(newest_ms - span_ms)
    for event in _scan(event_log, until, until, tell):
        activity.add(event)
    return activity


def _counts(event: Event) -> bool:
    return bool(event.consent and event.user_id)


def _share_of(n: int, share: float) -> int:
    return max(int(share * n + _ROUNDING), min(n, 1)) if share > 0 else 0


def _scan(event_log: EventLog, until: int, before: int, tell: Callable[[int, int], None]) -> Iterator[Event]:
    for number, event in event_log.scan():
        if number > until:
            return
        if number % _TELL_EVERY == 0:
            tell(before + number, 2 * until)
        yield event
