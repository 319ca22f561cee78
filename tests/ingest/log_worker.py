"""A second process on an LMDB log: `log_worker.py FOLDER NAME COUNT GROUP [ROOM]`, started by the tests.

Appends COUNT groups of GROUP events named NAME0, NAME1, … and prints, once they are in, their last number and name.
With ROOM files can grow by that many bytes only, as on a disk that is full: then it prints the error, the numbers that
can be read, and, with room again, goes on with the group that failed.
"""

import resource
import sys
from pathlib import Path

from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.ingest.lmdb_log import LmdbEventLog


def limit_files(bytes_: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, resource.RLIM_INFINITY))


if __name__ == "__main__":
    folder, name, count, group = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    log = LmdbEventLog(Path(folder), map_size_bytes=256 * 1024)
    if len(sys.argv) > 5:
        limit_files((Path(folder) / "data.mdb").stat().st_size + int(sys.argv[5]))
    for start in range(0, count * group, group):
        names = [f"{name}{number}" for number in range(start, start + group)]
        events = [Event(event_id=each, action="click", timestamp_ms=0, user_id="ann") for each in names]
        try:
            numbers = log.append(events)
        except StoreError as error:
            print("failed", error)
            print("readable", len(log.read(0, 1_000_000)), log.last())
            limit_files(resource.RLIM_INFINITY)
            numbers = log.append(events)
        print(numbers[-1], names[-1], flush=True)
    log.close()
