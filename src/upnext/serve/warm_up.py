"""Requests that nobody waits for, so that no first request pays for cold caches and lazy set-up."""

from collections.abc import Callable

from upnext.clock import Clock, Deadline
from upnext.domain.identity import subject_of
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.ingest.log_interface import EventLog

_ROUNDS = 200
_EVENTS = 4_000  # newest of the log, whose users ask


def warm_up(
    live: Live, event_log: EventLog, answer: Callable[[SlateRequest, Answer, Deadline], None], clock: Clock
) -> None:
    """Sends the users of the newest events, the likeliest to come, through the whole funnel by `answer`."""
    newest = event_log.read(max(event_log.last() - _EVENTS, 0), _EVENTS)
    named = (subject_of(event.user_id, event.session_id) for _, event in reversed(newest))
    subjects: list[str | None] = list(dict.fromkeys(named))[:_ROUNDS] or [None]
    for turn in range(_ROUNDS):
        request = SlateRequest(subject=subjects[turn % len(subjects)], k=20)
        answer(request, Answer(live.funnel.popular()), Deadline.never(clock))
