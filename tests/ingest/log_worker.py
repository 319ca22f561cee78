"""A second process on an LMDB log: `log_worker.py FOLDER NAME COUNT [GROUP]`, started by the tests.

Appends COUNT groups of GROUP events named NAME0, NAME1, … and prints, once they are in, their last number and name.
"""

import sys
from pathlib import Path

from upnext.domain.event import Event
from upnext.ingest.lmdb_log import LmdbEventLog

if __name__ == "__main__":
    folder, name, count, group = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    log = LmdbEventLog(Path(folder), map_size_bytes=256 * 1024)
    for start in range(0, count * group, group):
        names = [f"{name}{number}" for number in range(start, start + group)]
        events = [Event(event_id=each, action="click", timestamp_ms=0, user_id="ann") for each in names]
        print(log.append(events)[-1], names[-1], flush=True)
    log.close()
