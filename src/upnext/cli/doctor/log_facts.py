"""Reads how far a home's log and its followers are; judges nothing and changes nothing."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from upnext.cli.doctor.log import LogFacts
from upnext.clock import Clock, Deadline
from upnext.domain.identity import subject_of
from upnext.errors import StoreError, UpnextError
from upnext.ingest.consumer import stored_generation
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.dead_letters_record import Totals
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.log_interface import EventLog
from upnext.settings import DeadLetterSettings, Settings
from upnext.state.session_consumer import SESSION, session_consumer
from upnext.state.user_state import UserState, state_key
from upnext.store.interface import Store
from upnext.store.opening import open_store

_DAY_MS = 86_400_000
_NEWEST = 10_000  # events that growth is judged by
_SHORTEST_MS = 3_600_000  # events of a shorter time say little of a day
_LOOKED_AT = 200  # newest events whose users' states are read
_PATIENCE_MS = 2_000.0


def read_log(home: Path, settings: Settings, clock: Clock) -> LogFacts:
    """Of a home that may be in use by a server. One without a log gets none."""
    if not (home / "log").is_dir():
        return LogFacts()
    try:
        with closing(LmdbEventLog(home / "log")) as event_log:
            newest = event_log.read(max(event_log.last() - _NEWEST, 0), _NEWEST)
            times = [event.timestamp_ms for _, event in newest]
            letters = _letters(home, settings.dead_letters, clock)
            return LogFacts(
                n_events=event_log.count(),
                last=event_log.last(),
                newest_event_ms=max(times, default=None),
                growth_bytes_per_day=_growth(home, event_log, times, clock.now_ms()),
                waiting_letters=letters.waiting,
                by_reason=letters.by_reason,
                **_applied(home, event_log, settings, clock),
            )
    except (UpnextError, OSError) as error:
        return LogFacts(error=str(error))


def _growth(home: Path, event_log: EventLog, times: list[int], now_ms: int) -> float:
    """Bytes a day, by the newest events; 0 where the last one is long ago, as after an import of old data."""
    if not times or now_ms - max(times) > _DAY_MS:
        return 0.0
    file_bytes = sum(file.stat().st_size for file in (home / "log").glob("*.mdb"))
    per_event = file_bytes / max(event_log.count(), 1)
    return per_event * len(times) * _DAY_MS / max(max(times) - min(times), _SHORTEST_MS)


def _applied(home: Path, event_log: EventLog, settings: Settings, clock: Clock) -> dict[str, Any]:
    """Up to where users' states have the log; nothing is made where nobody has followed it yet."""
    if not settings.store.url and not (home / "state").is_dir():
        return {}
    try:
        with ExitStack() as opened:
            store = open_store(home, settings.store, clock)
            opened.callback(store.close)
            if not stored_generation(SESSION, store, Deadline.after(clock, _PATIENCE_MS)):
                return {}
            consumer = session_consumer(event_log, store, home / "consumers", settings.state, clock)
            opened.callback(consumer.close)
            return {"applied": consumer.offset(), "unreadable": _unreadable(store, event_log, clock)}
    except UpnextError as error:
        return {"lag_error": str(error)}


def _unreadable(store: Store, event_log: EventLog, clock: Clock) -> str:
    """What is wrong with a state of the users of the newest events; empty where nothing is."""
    newest = event_log.read(max(event_log.last() - _LOOKED_AT, 0), _LOOKED_AT)
    subjects = {subject_of(event.user_id, event.session_id) for _, event in newest}
    keys = [state_key(subject) for subject in subjects if subject is not None]
    for raw in store.get_many(keys, Deadline.after(clock, _PATIENCE_MS)):
        try:
            UserState.unpack(raw)
        except StoreError as error:
            return str(error)
    return ""


def _letters(home: Path, settings: DeadLetterSettings, clock: Clock) -> Totals:
    if not (home / "deadletters").is_dir():
        return Totals()
    with closing(DeadLetters(home / "deadletters", settings, clock)) as letters:
        return letters.totals()
