"""The numbers of one process in memory that other processes read: named cells in a mapped file; not what they mean.

Adding to a cell is an addition in memory, and what was added outlives the process. Each cell is one or several 64-bit
floating-point words, read and written whole, being aligned; counts in them are exact up to 2^53.
"""

import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Kind = Literal["counter", "gauge", "histogram"]
Words = npt.NDArray[np.float64]
Labels = tuple[str, ...]
CAPACITY = 2**20
"""Words of one process, 8 MiB; only what is touched takes memory."""
_WORD_BYTES = 8


class Cell(NamedTuple):
    """What a cell is: of which family of metrics, with which values of the family's labels."""

    kind: Kind
    family: str
    labels: Labels


class Cells:
    """The cells of this process: in `folder`, where there is one, for all to see, else its own."""

    def __init__(self, folder: Path | None, owner: str) -> None:
        """Raises `OSError` where the folder cannot be written."""
        self._places: dict[Cell, tuple[int, int]] = {}
        self._used = 0
        self._names: int | None = None
        if folder is None:
            self._map = mmap.mmap(-1, CAPACITY * _WORD_BYTES)
        else:
            path = folder / f"{owner}.cells"
            with path.open("w+b") as file:
                file.truncate(CAPACITY * _WORD_BYTES)
                self._map = mmap.mmap(file.fileno(), 0)
            self._names = os.open(folder / f"{owner}.names", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self.words = memoryview(self._map).cast("d")

    def __del__(self) -> None:
        if self._names is not None:
            os.close(self._names)
            self._names = None

    def place(self, cell: Cell, n_words: int = 1) -> int:
        """Where in `words` the cell begins; a new one is all 0. Raises `MemoryError` when there is no room."""
        found = self._places.get(cell)
        if found is None:
            if self._used + n_words > CAPACITY:
                raise MemoryError(f"no room for the metric {cell.family} {cell.labels}; this is a defect, report it")
            found = self._places[cell] = (self._used, n_words)
            self._used += n_words
            if self._names is not None:  # one write, so that readers see whole lines
                os.write(self._names, json.dumps([*cell, *found]).encode() + b"\n")
        return found[0]

    def read(self) -> Iterator[tuple[Cell, Words]]:
        """Every cell with a copy of its words."""
        words = np.frombuffer(self._map, np.float64)
        for cell, (at, n_words) in list(self._places.items()):
            yield cell, words[at : at + n_words].copy()


def read_cells(folder: Path, owner: str) -> Iterator[tuple[Cell, Words]]:
    """The cells that another process, living or dead, keeps in `folder`; none where it has left nothing."""
    try:
        lines = (folder / f"{owner}.names").read_bytes().split(b"\n")[:-1]  # the last may be half written
        words = np.memmap(folder / f"{owner}.cells", np.float64, "r")
    except (OSError, ValueError):
        return
    for line in lines:
        kind, family, labels, at, n_words = json.loads(line)
        yield Cell(kind, family, tuple(labels)), np.array(words[at : at + n_words])
