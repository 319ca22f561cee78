"""Memory that one thread uses again and again: for looking values up by row, and for the rows taken of tables."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


class Scratch(threading.local):
    """One set of arrays per thread and catalogue. Costs 5 bytes per item and thread, and the rows taken last.

    `floats` and `flags` are as long as the catalogue and always left zeroed.
    """

    def __init__(self, n_items: int) -> None:
        self.floats = np.zeros(n_items, np.float32)
        self.flags = np.zeros(n_items, np.uint8)
        self._rooms: dict[str, Floats] = {}

    def lookup(self, rows: Rows, values: Floats, wanted: npt.NDArray[np.integer[Any]]) -> Floats:
        """The value of each wanted row, 0 where it is not among `rows` (distinct); (n_wanted,) float32."""
        floats, places = self.floats, rows.astype(np.intp)  # once, since assignment is three times as quick by intp
        try:
            floats[places] = values
            return floats.take(wanted)
        finally:
            floats[places] = 0.0

    def outside(self, rows: Rows, excluded: Rows) -> npt.NDArray[np.bool_]:
        """(n_rows,) bool: which of `rows` are not among `excluded`."""
        flags, places = self.flags, excluded.astype(np.intp)
        try:
            flags[places] = 1
            outside: npt.NDArray[np.bool_] = flags.take(rows) == 0
            return outside
        finally:
            flags[places] = 0

    def rows(self, name: str, table: Any, places: npt.NDArray[np.intp]) -> Floats:
        """(n, width): rows `places` of `table`, good until this thread next asks for rows under this `name`.

        Always in the same memory: 100 kB and more of new pages for each request cost more than copying the rows.
        """
        if not isinstance(table, np.ndarray):  # a table in two levels copies its rows itself
            taken: Floats = table.take(places, axis=0)
            return taken
        room = self.room(name, len(places), table.shape[1])
        return table.take(places, axis=0, out=room, mode="clip")  # no other mode writes in place

    def room(self, name: str, n: int, width: int) -> Floats:
        """(n, width) to be filled, in the same memory whenever this thread asks by this `name`."""
        room = self._rooms.get(name)
        if room is None or len(room) < n or room.shape[1] != width:
            room = self._rooms[name] = np.empty((n, width), np.float32)
        return room[:n]
