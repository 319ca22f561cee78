"""The crowd as of one event of the log, in files: a worker that starts goes on from there; knows no log.

Offset and counts are one folder, renamed into place when it is whole, so they are never of different moments.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.domain.identity import Keys
from upnext.state.crowd import Crowd, Rows

_NAME = re.compile(r"(?P<release>.+)@(?P<sequence>\d+)")
_FRESH_KEYS = "fresh_keys"


def write_snapshot(folder: Path, release_id: str, sequence: int, crowd: Crowd, fresh_keys: Keys) -> None:
    """The crowd after event `sequence`; older snapshots of any release go. For the thread that moves the crowd.

    `fresh_keys`: of the items in the rows behind the released ones, which may stand in other rows the next time. Not
    flushed: what a power failure takes is counted again from the release's own counts.
    """
    draft = folder / f".draft-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)

    def add_array(name: str, array: npt.NDArray[Any]) -> None:
        np.save(draft / f"{name}.npy", array)

    crowd.save(add_array)
    add_array(_FRESH_KEYS, fresh_keys)
    whole = folder / f"{release_id}@{sequence}"
    if whole.exists():  # another worker was as far
        shutil.rmtree(draft)
        return
    draft.rename(whole)
    for older in _snapshots(folder):
        if older != whole:
            shutil.rmtree(older, ignore_errors=True)


def load_snapshot(
    folder: Path,
    release_id: str,
    between: tuple[int, int],
    crowd: Crowd,
    n_released: int,
    rows_of: Callable[[Keys], Rows],
) -> int:
    """The event up to which `crowd` has now counted: that of the newest snapshot of the release.

    `between`: the event after which a snapshot is of use, and the last of the log. Without a snapshot between them,
    or where it cannot be read, the crowd is left alone and the first is returned. `rows_of` tells
    where the items of keys stand now, -1 for those that are no more.
    """
    found = [(_sequence(path, release_id), path) for path in _snapshots(folder)]
    sequence, path = max(found, default=(0, folder))
    after, last = between
    if not after < sequence <= last:
        return after
    try:
        arrays = {file.stem: np.load(file) for file in path.glob("*.npy")}
        rows = np.concatenate([np.arange(n_released, dtype=np.int32), rows_of(arrays.pop(_FRESH_KEYS))])
    except (OSError, ValueError, KeyError):  # removed by another worker just now, or torn by a power failure
        return after
    crowd.load(arrays.__getitem__, rows, parts=arrays)
    return sequence


def age_s(folder: Path, now_s: float) -> float:
    """Seconds since the newest snapshot was made, infinite where there is none."""
    return now_s - max((path.stat().st_mtime for path in _snapshots(folder)), default=-np.inf)


def _snapshots(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []


def _sequence(path: Path, release_id: str) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match["sequence"]) if match and match["release"] == release_id else 0
