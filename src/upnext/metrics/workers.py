"""One set of counts for several worker processes: a folder of theirs in memory, the dead folded together."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upnext.metrics.cells import Cell, Cells, Words, read_cells
from upnext.shared_memory import shared_folder

_VARIABLE = "_UPNEXT_METRICS"
_FOLDED, _FOLDING = "folded", "folding"


@contextmanager
def share_between_workers() -> Iterator[Path]:
    """Worker processes started inside count together; for the parent process, before it starts them.

    Removed at the end, so that the counts of a new server start at zero.
    """
    with shared_folder("metrics") as folder:
        os.environ[_VARIABLE] = str(folder)
        try:
            yield folder
        finally:
            del os.environ[_VARIABLE]


def shared_directory() -> Path | None:
    """Where this process keeps its counts for all to see, None when it counts for itself."""
    folder = os.environ.get(_VARIABLE)
    return None if folder is None else Path(folder)


class Totals:
    """What all workers have counted, added up, and what gauges stand at in each living one."""

    def __init__(self) -> None:
        self.counts: dict[Cell, Words] = {}
        self.gauges: dict[Cell, list[float]] = {}

    def add(self, cell: Cell, words: Words) -> None:
        """One worker's cell."""
        if cell.kind == "gauge":
            self.gauges.setdefault(cell, []).append(float(words[0]))
        elif cell in self.counts:
            self.counts[cell] += words
        else:
            self.counts[cell] = words


def totals_of_all(folder: Path) -> Totals:
    """The sum over all workers of `folder`, after folding in what dead ones have left.

    One process at a time does this: another's half-done folding would count a dead worker twice.
    """
    totals = Totals()
    with (folder / "folding.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fold_the_dead(folder)
        for owner in [_FOLDED, *_owners(folder)]:
            for cell, words in read_cells(folder, owner):
                totals.add(cell, words)
    return totals


def fold_the_dead(folder: Path) -> None:
    """Adds up the counts of workers that no longer run in one place, and drops their gauges."""
    dead = [owner for owner in _owners(folder) if not _runs(int(owner))]
    if not dead:
        return
    totals = Totals()
    for owner in (_FOLDED, *dead):
        for cell, words in read_cells(folder, owner):
            totals.add(cell, words)
    folded = Cells(folder, _FOLDING)
    for cell, words in totals.counts.items():
        at = folded.place(cell, len(words))
        folded.words[at : at + len(words)] = words.data
    for suffix in ("cells", "names"):
        (folder / f"{_FOLDING}.{suffix}").replace(folder / f"{_FOLDED}.{suffix}")
    for owner in dead:
        (folder / f"{owner}.cells").unlink(missing_ok=True)
        (folder / f"{owner}.names").unlink(missing_ok=True)


def _owners(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.cells") if path.stem.isdecimal())


def _runs(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so alive
        return True
    return True
