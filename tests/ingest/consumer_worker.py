"""A second process with a consumer: `consumer_worker.py HOME NAME COUNT`, started by the tests.

Appends COUNT events named NAME0, NAME1, … one by one and, after each, catches up until it is handled. Every event that
it handles goes, in one write, to the end of HOME/handled. Prints how many of the calls returned before their event was.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from upnext.clock import SystemClock
from upnext.domain.event import Event
from upnext.ingest.consumer import Consumer
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.store.lmdb_store import LmdbStore

if __name__ == "__main__":
    home, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    log, store = LmdbEventLog(home / "log"), LmdbStore(home / "state")
    file = os.open(home / "handled", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def handle(events: Sequence[tuple[int, Event]]) -> None:
        os.write(file, b"".join(b"%d\n" % sequence for sequence, _ in events))

    consumer = Consumer("counting", log, store, handle, home / "consumers", SystemClock())
    print("open", flush=True)
    sys.stdin.readline()
    early = 0
    for number in range(count):
        event = Event(event_id=f"{name}{number}", action="click", timestamp_ms=0, user_id="ann", item_id="a")
        (sequence,) = log.append([event])
        early += consumer.catch_up(sequence) < sequence
    print(early, flush=True)
