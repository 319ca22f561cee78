"""Which items have a slot in a table that has fewer slots than there are items; knows not what the slots hold."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
NONE = -1
_HAND = 8  # slots looked at when one must make way


class Slots:
    """Items and their slots. One thread takes slots; others may read meanwhile."""

    def __init__(self, n_items: int, n_slots: int) -> None:
        """Zeros cost no memory until they are written to."""
        self.of: Rows = np.full(n_items, NONE, np.int32)  # of each item
        self.owners: Rows = np.zeros(n_slots, np.int32)  # of each slot that is used
        self.n_used = 0
        self._hand = 0

    def take(self, row: int, worth: Callable[[npt.NDArray[np.intp]], npt.NDArray[np.number]]) -> tuple[int, bool]:
        """A slot for item `row`, which has none, and whether another item had to leave it.

        `of[row]` is the caller's to set, once the slot holds what readers may see. Where none is free, of the next few
        slots the one of the least `worth` (n slots → n numbers) is taken.
        """
        if self.n_used < len(self.owners):
            slot, taken = self.n_used, False
            self.n_used += 1
        else:
            window = (self._hand + np.arange(_HAND)) % len(self.owners)
            slot, taken = int(window[worth(window).argmin()]), True
            self._hand = int(window[-1]) + 1
            self.of[self.owners[slot]] = NONE
        self.owners[slot] = row
        return slot, taken

    def adopt(self, owners: Rows) -> None:
        """The first slots for `owners` (n,), where nobody has one yet."""
        self.n_used = len(owners)
        self.owners[: self.n_used] = owners
        self.of[owners] = np.arange(self.n_used, dtype=np.int32)
