"""A second process on an LMDB store: `lmdb_worker.py FOLDER JOB [ARGUMENT]`, started by the tests."""

import sys
from pathlib import Path

from upnext.clock import Deadline, SystemClock
from upnext.store.interface import Values
from upnext.store.lmdb_store import LmdbStore

NEVER = Deadline.never(SystemClock())


def fill(store: LmdbStore, mebibytes: str) -> None:
    """Puts so many values of one MiB."""
    for number in range(int(mebibytes)):
        store.put_many([(b"fill%d" % number, bytes(1024 * 1024))], NEVER)


def put_forever(store: LmdbStore, argument: str) -> None:
    """Puts ever higher numbers under `n`, reporting each once it is put, until killed."""
    number = 0
    while True:
        number += 1
        store.put_many([(b"n", b"%d" % number), (b"twin", b"%d" % number)], NEVER)
        print(number, flush=True)


def hold(store: LmdbStore, argument: str) -> None:
    """Stays inside an update until killed."""

    def change(number: int, values: Values) -> list[bytes]:
        print("inside", flush=True)
        sys.stdin.read()
        return [b"never written"]

    store.update([[b"held"]], change, NEVER)


if __name__ == "__main__":
    folder, job, *rest = sys.argv[1:]
    jobs = {"fill": fill, "put_forever": put_forever, "hold": hold}
    print("open", flush=True)
    opened = LmdbStore(Path(folder), map_size_bytes=64 * 1024)
    jobs[job](opened, *(rest or [""]))
    opened.close()
