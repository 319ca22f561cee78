"""The consumer of the log that joins outcomes to served slates, named in one place; knows not who runs it."""

from pathlib import Path

from upnext.clock import Clock
from upnext.ingest.consumer import Consumer
from upnext.ingest.log_interface import EventLog
from upnext.ingest.served_slates import ServedSlates


def impressions_consumer(event_log: EventLog, served: ServedSlates, folder: Path, clock: Clock) -> Consumer:
    """Catching it up joins every event of the log so far. `folder`: where a home keeps the locks of its consumers.

    The offset is kept with the slates: whoever deletes their folder has all of it made anew.
    """
    return Consumer("impressions", event_log, served.store, served.join, folder, clock)
