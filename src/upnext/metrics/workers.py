"""One set of counts for several worker processes: a shared folder of memory-mapped files, the dead folded together.

Built on the multi-process mode of prometheus_client, which leaves three things to its user: choosing the folder before
the library is imported, emptying it between servers, and not piling up the files of workers that crash and restart.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upnext.errors import UpnextError
from upnext.shared_memory import shared_folder

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def share_between_workers() -> Iterator[Path]:
    """Worker processes started inside count together; for the parent process, before it starts them.

    Workers must start afresh (spawn, not fork) since the folder is read when prometheus_client is imported. Removed at
    the end, so that the counts of a new server start at zero.
    """
    with shared_folder("metrics") as folder:
        os.environ[_VARIABLE] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[_VARIABLE]


def shared_directory() -> Path | None:
    """Where this process keeps its counts for all to see, None when it counts for itself.

    Raises UpnextError when prometheus_client was imported too early to take part.
    """
    from prometheus_client import values

    folder = os.environ.get(_VARIABLE)
    if folder is None:
        return None
    if not values.ValueClass._multiprocess:
        raise UpnextError(
            f"metrics are shared in {folder}, but this process had loaded prometheus_client before that was decided; "
            "make Metrics only in worker processes started under share_between_workers()"
        )
    return Path(folder)


def exposition_of_all(folder: Path) -> bytes:
    """The sum over all workers in Prometheus text; first folds in what dead workers have left.

    One process at a time does this: another's half-done folding would count a dead worker twice.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    with (folder / "folding.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fold_the_dead(folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def fold_the_dead(folder: Path) -> None:
    """Add the counts of workers that no longer run to one file for each kind, and drop their gauges."""
    for file in sorted(folder.glob("*_*.db")):
        kind, *_, owner = file.stem.split("_")
        if not owner.isdecimal() or _runs(int(owner)):
            continue
        if kind != "gauge":
            _add_counts(file, folder / f"{kind}_folded.db")
        file.unlink()


def _add_counts(file: Path, to: Path) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    total: Any = MmapedDict(str(to))  # type: ignore[no-untyped-call]
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
        total.write_value(key, total.read_value(key)[0] + value, 0.0)
    total.close()


def _runs(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so alive
        return True
    return True
