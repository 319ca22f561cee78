"""Which items carry which label, a genre or a region, however many there are; knows not what labels mean."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

MOST_LABELS = np.iinfo(np.int16).max
_NO_ROWS: npt.NDArray[np.int32] = np.empty(0, np.int32)


class Labels:
    """The rows of the items that carry each label, end to end in one array, and where each label's begin.

    Rows put later have their labels beside the arrays, which stay as they are. One thread puts; others may read
    meanwhile.
    """

    def __init__(self, names: list[str], offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int32]) -> None:
        """`names`: most frequent first. `offsets` (n_labels + 1,) int64; `rows` (n_pairs,) int32, rising per label."""
        self.names = list(names)  # grows with labels that no item of the arrays carries
        self.offsets = offsets
        self.rows = rows
        self._code = {name: code for code, name in enumerate(names)}
        self._carried: npt.NDArray[np.uint16] | None = None  # how many labels the arrays give each row
        self._put: dict[int, tuple[str, ...]] = {}
        self._put_rows = _NO_ROWS  # its keys, when last looked at
        self._carriers: dict[str, set[int]] = {}  # rows by the labels put

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
        names = list(names)
        put = self._rows_put()
        before = mask[put]
        for name in names:
            rows = self._rows_of(name)
            if len(rows):
                mask[rows] = True
        if not len(put):
            return
        mask[put] = before  # what the arrays say of them holds no more
        for name in names:
            if carriers := list(self._carriers.get(name, ())):  # a copy in one step: the set may be changing
                mask[carriers] = True

    def put(self, row: int, names: Sequence[str]) -> None:
        """The labels of `row` from now on, also of a row past the arrays."""
        wanted = tuple(dict.fromkeys(names))
        before = self._put.get(row)
        if before is None and self._as_in_the_arrays(row, wanted):
            return
        for name in wanted:
            self._add_name(name)
            self._carriers.setdefault(name, set()).add(row)
        self._put[row] = wanted
        for name in before or ():
            if name not in wanted:
                self._carriers[name].discard(row)

    def _rows_put(self) -> npt.NDArray[np.int32]:
        if len(self._put_rows) != len(self._put):  # rows are only ever added
            self._put_rows = np.array(list(self._put), np.int32)
        return self._put_rows

    def _add_name(self, name: str) -> None:
        """Gives a new label a code, as long as there are any; it can be asked for all the same."""
        if name not in self._code and len(self.names) < MOST_LABELS:
            self.names.append(name)
            self._code[name] = len(self.names) - 1

    def _as_in_the_arrays(self, row: int, names: tuple[str, ...]) -> bool:
        """Told without the labels of a row, which the arrays do not give: by their number and by looking for each."""
        if self._carried is None:
            self._carried = np.bincount(self.rows).astype(np.uint16)
        carried = int(self._carried[row]) if row < len(self._carried) else 0
        return carried == len(names) and all(self._in_arrays(name, row) for name in names)

    def _in_arrays(self, name: str, row: int) -> bool:
        rows = self._rows_of(name)
        at = int(rows.searchsorted(np.int32(row)))
        return at < len(rows) and int(rows[at]) == row

    def _rows_of(self, name: str) -> npt.NDArray[np.int32]:
        """The rows that carry a label by the arrays."""
        code = self.code(name)
        if not 0 <= code < len(self.offsets) - 1:
            return _NO_ROWS
        return self.rows[self.offsets[code] : self.offsets[code + 1]]
