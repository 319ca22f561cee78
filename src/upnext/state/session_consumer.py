"""The consumer of the log that moves users' states, named in one place; knows not who runs it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from upnext.clock import Clock, Deadline
from upnext.domain.event import Event
from upnext.domain.identity import subject_of
from upnext.ingest.consumer import Consumer
from upnext.ingest.log_interface import EventLog
from upnext.settings import StateSettings
from upnext.state.advance import SessionStepper
from upnext.state.apply import apply_events
from upnext.store.interface import Store

SESSION = "session"  # its name
_BATCH_EVENTS = 500  # between two looks at the deadline


def session_consumer(
    event_log: EventLog,
    store: Store,
    folder: Path,
    settings: StateSettings,
    clock: Clock,
    stepper: Callable[[], SessionStepper | None] = lambda: None,
    moved: Callable[[Iterable[str]], None] = lambda subjects: None,
) -> Consumer:
    """Catching it up applies every event of the log so far to its user's state.

    The offset is kept with the states: whoever deletes them has all of them made anew. `folder`: where a home keeps
    the locks of its consumers. `stepper` gives the session encoder in force; without one, and where many events come
    at once, vectors lag behind until they are next read. `moved` hears whose states were stored, before the offset is.
    """
    never = Deadline.never(clock)

    def handle(events: Sequence[tuple[int, Event]]) -> None:
        at_once = len(events) <= settings.step_at_once
        apply_events(events, store, stepper() if at_once else None, settings, never, consumer.generation)
        subjects = {subject_of(event.user_id, event.session_id) for _, event in events}
        moved(subject for subject in subjects if subject is not None)

    consumer = Consumer(SESSION, event_log, store, handle, folder, clock, batch_events=_BATCH_EVENTS)
    return consumer
