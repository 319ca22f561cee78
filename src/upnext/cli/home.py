"""A home folder opened for a command: store and log under it; closes what it opened."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from upnext.clock import SystemClock
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.store.lmdb_store import LmdbStore


@dataclass(frozen=True)
class Home:
    """Where everything of one installation is."""

    path: Path
    store: LmdbStore
    event_log: LmdbEventLog


@contextmanager
def opened_home(path: Path) -> Iterator[Home]:
    """Store and log of a home folder, made where there are none."""
    path.mkdir(parents=True, exist_ok=True)
    store, event_log = LmdbStore(path / "state", SystemClock()), LmdbEventLog(path / "log")
    try:
        yield Home(path, store, event_log)
    finally:
        event_log.close()
        store.close()
