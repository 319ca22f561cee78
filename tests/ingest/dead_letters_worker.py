"""A second process on the dead letters: `dead_letters_worker.py append|replay FOLDER …`, started by the tests.

append FOLDER NAME COUNT GROUP MAX_BYTES: appends COUNT groups of GROUP letters with bytes NAME0, NAME1, … and prints,
once they are in, the number and the bytes of the last one.
replay FOLDER LOG: replays everything into the log, and kills itself between the append to the log and the removal.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.ingest.dead_lettering import NOW_MS, doors, letter, queue
from upnext.domain.event import Event
from upnext.ingest.dead_letters_record import Selection
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.replay import replay


def append(folder: str, name: str, count: str, group: str, max_bytes: str) -> None:
    letters = queue(Path(folder), max_bytes=int(max_bytes))
    for start in range(0, int(count) * int(group), int(group)):
        names = [f"{name}{number}" for number in range(start, start + int(group))]
        print(letters.append([letter(each.encode()) for each in names])[-1], names[-1], flush=True)


def replay_and_die(folder: str, log_folder: str) -> None:
    log = LmdbEventLog(Path(log_folder))

    def append_and_die(events: Sequence[Event]) -> list[int | None]:
        log.append(events)
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    replay(queue(Path(folder)), Selection(), doors(append_and_die), now_ms=NOW_MS, gate="2")


if __name__ == "__main__":
    {"append": append, "replay": replay_and_die}[sys.argv[1]](*sys.argv[2:])
