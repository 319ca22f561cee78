"""Which items carry which label, a genre or a region, however many there are; knows not what labels mean."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


class Labels:
    """The rows of the items that carry each label, end to end in one array, and where each label's begin."""

    def __init__(self, names: list[str], offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int32]) -> None:
        """`names`: most frequent first. `offsets` (n_labels + 1,) int64; `rows` (n_pairs,) int32."""
        self.names = names
        self.offsets = offsets
        self.rows = rows
        self._code = {name: code for code, name in enumerate(names)}

    @classmethod
    def of(cls, sets: Sequence[tuple[str, ...]]) -> "Labels":
        """The labels of items by row."""
        carriers: dict[str, list[int]] = {}
        for row, names in enumerate(sets):
            for name in dict.fromkeys(names):
                carriers.setdefault(name, []).append(row)
        by_frequency = sorted(carriers, key=lambda name: (-len(carriers[name]), name))
        offsets = np.zeros(len(by_frequency) + 1, np.int64)
        np.cumsum([len(carriers[name]) for name in by_frequency], out=offsets[1:])
        rows = np.fromiter((row for name in by_frequency for row in carriers[name]), np.int32, int(offsets[-1]))
        return cls(by_frequency, offsets, rows)

    def code(self, name: str) -> int:
        """Place of a label among `names`, -1 for one that no item carries."""
        return self._code.get(name, -1)

    def mark(self, names: Iterable[str], mask: npt.NDArray[np.bool_]) -> None:
        """Sets `mask` (n_items,) for every item that carries one of `names`; a label that no item carries, for none."""
        for code in map(self.code, names):
            if code >= 0:
                mask[self.rows[self.offsets[code] : self.offsets[code + 1]]] = True
