"""A whole event log as columns for training, in order of time; knows nothing of what will be learned from them."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTION_CODE
from upnext.domain.identity import key_of, subject_of
from upnext.ingest.log_interface import EventLog

_PROGRESS_EVENTS = 50_000


@dataclass(frozen=True)
class EventColumns:
    """Events by column, each (n_events,), sorted by time and, within one millisecond, by their place in the log.

    `user` int32: index into `users`, subjects such as `u:42` (`s:…` for events with a session only). `item` int32:
    index into `items`, -1 for none. `action` uint8: code. `timestamp_ms` int64. `session` uint64: key of the session
    id, 0 for none. `value` float32, NaN for none. `seq` int64: sequence number in the log. `device` and `region`
    int32: index into `devices` and `regions`, where 0 is "", not known; empty arrays where nobody looked.
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
    device: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    region: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    devices: list[str] = field(default_factory=lambda: [""])
    regions: list[str] = field(default_factory=lambda: [""])

    def __len__(self) -> int:
        return len(self.user)


def read_columns(log: EventLog, progress: Callable[[int, int], None] | None = None) -> EventColumns:
    """The columns of every event now in `log` that came with consent, streamed: about 50 bytes an event beside names.

    Users, items, devices and regions are numbered in the order the log first names them. `progress` is told events
    read and events to read.
    """
    user, item, device, region = (array("i") for _ in range(4))
    action, timestamp_ms, session, value, seq = array("B"), array("q"), array("Q"), array("f"), array("q")
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    devices, regions = {"": 0}, {"": 0}
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
        context = event.context
        device.append(devices.setdefault(str(context.get("device") or ""), len(devices)) if context else 0)
        region.append(regions.setdefault(str(context.get("region") or ""), len(regions)) if context else 0)
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
        device=np.frombuffer(device, np.int32)[order],
        region=np.frombuffer(region, np.int32)[order],
        devices=list(devices),
        regions=list(regions),
    )
