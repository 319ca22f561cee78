"""Millions of strings in two arrays that can be mapped from a file, in place of millions of Python objects."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

_MOST_RECENT = 1 << 16


class StringTable:
    """Strings by row: UTF-8 bytes end to end, and where each begins; those put later stand beside them."""

    def __init__(self, blob: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        """`blob` (n_bytes,) uint8; `offsets` (n_strings + 1,) int64."""
        self.blob = blob
        self.offsets = offsets
        self._bytes = memoryview(blob.data)
        self._put: dict[int, str] = {}
        self._recent: dict[int, str] = {}  # strings taken of late: what is popular is taken again and again

    @classmethod
    def of(cls, strings: Sequence[str]) -> "StringTable":
        encoded = [string.encode() for string in strings]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(each) for each in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        """Strings in the arrays; rows from here on have only what was put."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> str:
        put = self._put.get(row) if self._put else None
        return str(self._bytes[self.offsets[row] : self.offsets[row + 1]], "utf-8") if put is None else put

    def take(self, rows: npt.NDArray[np.int32]) -> list[str]:
        """The strings of `rows`, in their order."""
        listed, recent = rows.tolist(), self._recent
        strings = [recent.get(row) for row in listed]
        for place, string in enumerate(strings):
            if string is None:
                row = listed[place]
                if len(recent) >= _MOST_RECENT:
                    recent.clear()
                strings[place] = recent[row] = self[row]
        return cast(list[str], strings)

    def put(self, row: int, string: str) -> None:
        """The string of `row` from now on, also of a row past the arrays. The arrays stay as they are."""
        if row >= len(self) or self[row] != string:
            self._put[row] = string
            self._recent.pop(row, None)
