"""A whole event log as columns for training, in order of time; knows nothing of what will be learned from them."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTION_CODE
from upnext.domain.identity import Keys, context_keys, key_of, subject_of
from upnext.ingest.log_interface import EventLog

_PROGRESS_EVENTS = 50_000


@dataclass(frozen=True)
class EventColumns:
    """Events by column, each (n_events,), sorted by time and, within one millisecond, by their place in the log.

    `user` int32: index into `users`, subjects such as `u:42` (`s:…` for events with a session only). `item` int32:
    index into `items`, -1 for none. `action` uint8: code. `timestamp_ms` int64. `session` uint64: key of the session
    id, 0 for none. `value` float32, NaN for none. `seq` int64: sequence number in the log. `context`
    (n_events, n_names) int32: places in `context_keys`, one key for each value of each name asked for, of which the
    first is 0, not known; (0, 0) where none was asked for.
    """

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    action: npt.NDArray[np.uint8]
    timestamp_ms: npt.NDArray[np.int64]
    session: npt.NDArray[np.uint64]
    value: npt.NDArray[np.float32]
    seq: npt.NDArray[np.int64]
    users: list[str]
    items: list[str]
    context: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 0), np.int32))
    context_keys: Keys = field(default_factory=lambda: np.zeros(1, np.uint64))

    def __len__(self) -> int:
        return len(self.user)

    def context_of(self, event: int) -> tuple[int, ...]:
        """The context keys of one event, 0 for what is not known; empty where nothing is."""
        if not self.context.size:
            return ()
        places = self.context[event]
        return tuple(self.context_keys.take(places).tolist()) if places.any() else ()


def read_columns(
    log: EventLog, progress: Callable[[int, int], None] | None = None, *, contexts: Sequence[str] = ()
) -> EventColumns:
    """The columns of every event now in `log` that came with consent, streamed: about 50 bytes an event beside names.

    Users and items are numbered in the order the log first names them. `progress` is told events read and events to
    read. `contexts`: names of circumstances to be read, too.
    """
    user, item, context = (array("i") for _ in range(3))
    places: dict[int, int] = {0: 0}  # of context keys
    action, timestamp_ms, session, value, seq = array("B"), array("q"), array("Q"), array("f"), array("q")
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    sessions: dict[str, int] = {}
    last = log.last()
    for number, event in log.scan():
        if not event.consent:
            continue
        user.append(users.setdefault(subject_of(event.user_id, event.session_id) or "", len(users)))
        item.append(-1 if event.item_id is None else items.setdefault(event.item_id, len(items)))
        action.append(ACTION_CODE[event.action])
        timestamp_ms.append(event.timestamp_ms)
        name = event.session_id
        if name is None:
            session.append(0)
        else:
            key = sessions.get(name)
            if key is None:
                key = sessions[name] = key_of(name)
            session.append(key)
        value.append(np.nan if event.value is None else event.value)
        seq.append(number)
        context.extend(places.setdefault(key, len(places)) for key in context_keys(contexts, event.context))
        if progress and len(seq) % _PROGRESS_EVENTS == 0:
            progress(len(seq), max(last, number))
    order = np.lexsort((np.frombuffer(seq, np.int64), np.frombuffer(timestamp_ms, np.int64)))
    return EventColumns(
        user=np.frombuffer(user, np.int32)[order],
        item=np.frombuffer(item, np.int32)[order],
        action=np.frombuffer(action, np.uint8)[order],
        timestamp_ms=np.frombuffer(timestamp_ms, np.int64)[order],
        session=np.frombuffer(session, np.uint64)[order],
        value=np.frombuffer(value, np.float32)[order],
        seq=np.frombuffer(seq, np.int64)[order],
        users=list(users),
        items=list(items),
        context=np.frombuffer(context, np.int32).reshape(len(order) if contexts else 0, len(contexts))[order]
        if contexts
        else np.empty((0, 0), np.int32),
        context_keys=np.array(list(places), np.uint64),
    )
