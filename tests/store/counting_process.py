"""A process that counts in a shared store: `counting_process.py HOME URL PREFIX TIMES`, started by the suite."""

import sys
from pathlib import Path

from upnext.clock import Deadline, SystemClock
from upnext.settings import StoreSettings
from upnext.store.interface import Values
from upnext.store.opening import open_store

NEVER = Deadline.never(SystemClock())


def count_up(number: int, values: Values) -> list[bytes]:
    return [b"%d" % (int(value or b"0") + 1) for value in values]


if __name__ == "__main__":
    home, url, prefix, times = sys.argv[1:]
    store = open_store(Path(home), StoreSettings(url=url, prefix=prefix, timeout_ms=20_000), SystemClock())
    for _ in range(int(times)):
        store.update([[b"updated/u", b"twin/u"]], count_up, NEVER)
        swapped = False
        while not swapped:
            (value,) = store.get_many([b"swapped"], NEVER)
            swapped = store.compare_and_set(b"swapped", value, count_up(0, [value])[0], NEVER)
    store.close()
