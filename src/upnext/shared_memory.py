"""Files in memory by which the processes of one server share numbers; knows not which.

Their names hold the process that made them, so that what a killed server left behind is removed by the next.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")


@contextmanager
def shared_file(name: str, create: Callable[[Path], None]) -> Iterator[Path]:
    """A file that `create` filled, for the parent process of the workers. Removed at the end; maps of it stay valid."""
    with shared_folder(name) as folder:
        path = folder / name
        create(path)
        yield path


@contextmanager
def shared_folder(name: str) -> Iterator[Path]:
    """An empty folder, in memory where there is such a place. Removed at the end."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _remove_left_behind(place, name)
    # In memory where possible: the kernel may stall a write to a mapped page while it writes that page to disk.
    folder = Path(tempfile.mkdtemp(prefix=f"upnext-{name}-{os.getpid()}-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind(place: Path, name: str) -> None:
    for folder in place.glob(f"upnext-{name}-*"):
        match = re.fullmatch(rf"upnext-{name}-(\d+)-.*", folder.name)
        if match and not Path(f"/proc/{match[1]}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
