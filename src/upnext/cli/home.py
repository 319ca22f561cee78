"""A home folder opened for a command: store, log and records under it; closes what it opened."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from upnext.clock import SystemClock
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.records import Records
from upnext.settings import StoreSettings
from upnext.store.interface import Store
from upnext.store.opening import open_store

_EMBEDDED = StoreSettings()


@dataclass(frozen=True)
class Home:
    """Where everything of one installation is."""

    path: Path
    store: Store
    event_log: LmdbEventLog
    records: Records


@contextmanager
def opened_home(path: Path, store_settings: StoreSettings = _EMBEDDED) -> Iterator[Home]:
    """Store, log and records of a home folder, made where there are none; or the store that the settings name."""
    path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        store = open_store(path, store_settings, SystemClock())
        opened.callback(store.close)
        event_log = LmdbEventLog(path / "log")
        opened.callback(event_log.close)
        records = Records(path / "records")
        opened.callback(records.close)
        yield Home(path, store, event_log, records)
