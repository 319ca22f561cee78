"""The exported session encoder, one event at a time; knows the items of one release, not whose events they are."""

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from upnext.catalog.catalog import Catalog

Floats = npt.NDArray[np.float32]


class GraphStepper:
    """A `SessionStepper` over the step graph (inputs `state`, `item_vector`; outputs `new_state`, `vector`)."""

    def __init__(self, graph: ort.InferenceSession, session_items: Floats, catalog: Catalog, encoders: str) -> None:
        """`session_items` (n_items, dim + 1): the encoder's item table, its bias last; zero rows are not learnt."""
        self.encoders = encoders
        self._graph = graph
        self._items = session_items
        self._catalog = catalog
        state_size = next(each.shape[1] for each in graph.get_inputs() if each.name == "state")
        self._initial = np.zeros((1, state_size), np.float32)

    def step(self, hidden: Floats, item_key: int) -> tuple[Floats, Floats] | None:
        row = self._catalog.row_of_key(item_key)
        return None if row < 0 else self.step_row(hidden, row)

    def step_row(self, hidden: Floats, row: int) -> tuple[Floats, Floats] | None:
        """The same for an item's row."""
        item = self._items[row : row + 1, :-1]
        if not item.any():
            return None
        state = hidden[None] if len(hidden) else self._initial
        new_state, vector = self._graph.run(None, {"state": state, "item_vector": np.ascontiguousarray(item)})
        return new_state[0], vector[0]
