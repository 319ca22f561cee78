"""Files in memory by which the processes of one server share numbers; knows not which.

Their names hold the process that made them, so that what a killed server left behind is removed by the next.
"""

import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from upnext.errors import SettingsError

_MEMORY = Path("/dev/shm")


@contextmanager
def shared_file(name: str, create: Callable[[Path], None]) -> Iterator[Path]:
    """A file that `create` filled, for the parent process of the workers. Removed at the end; maps of it stay valid."""
    with shared_folder(name) as folder:
        path = folder / name
        create(path)
        yield path


def create_words(path: Path, magic: bytes, n_words: int) -> None:
    """A file of `n_words` 64-bit words, all 0 but for the first ones, `magic` (16 bytes).

    Only what is touched takes memory.
    """
    with path.open("wb") as file:
        file.write(magic)
        file.truncate(8 * n_words)


class Words:
    """A file that `create_words` made, mapped: `words` are signed, written and read whole, being aligned."""

    def __init__(self, path: Path, magic: bytes, n_words: int, what: str) -> None:
        """`what` it should be, for the `SettingsError` that is raised when it is something else."""
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size != 8 * n_words or file.read(len(magic)) != magic:
                raise SettingsError(f"{path} is no {what}; start the server anew")
            self._map = mmap.mmap(file.fileno(), 0)
        self.words = memoryview(self._map).cast("q")

    def close(self) -> None:
        """The words are not to be used again."""
        self.words.release()
        self._map.close()


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
