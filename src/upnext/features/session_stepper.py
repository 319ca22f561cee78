"""The exported session encoder, one step of many users at a time; knows one release's items, not whose events."""

from collections.abc import Sequence

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
        self._state_size = int(state_size)

    def step(self, hidden: Sequence[Floats], item_keys: Sequence[int]) -> list[tuple[Floats, Floats] | None]:
        if len(item_keys) == 1:
            rows = np.array([self._catalog.row_of_key(item_keys[0])], np.int32)
        else:
            rows = self._catalog.rows_of(np.array(item_keys, np.uint64))
        return self.step_rows(hidden, rows)

    def step_rows(self, hidden: Sequence[Floats], rows: npt.NDArray[np.int32]) -> list[tuple[Floats, Floats] | None]:
        """The same for items' rows, -1 for one that is not known."""
        items = self._items.take(rows, axis=0, mode="clip")[:, :-1]
        known = (items.any(axis=1) & (rows >= 0)).nonzero()[0]
        steps: list[tuple[Floats, Floats] | None] = [None] * len(rows)
        if not len(known):
            return steps
        state = np.zeros((len(known), self._state_size), np.float32)
        for at, user in enumerate(known.tolist()):
            if len(hidden[user]):
                state[at] = hidden[user]
        new_state, vector = self._graph.run(None, {"state": state, "item_vector": np.ascontiguousarray(items[known])})
        for at, user in enumerate(known.tolist()):
            steps[user] = new_state[at], vector[at]
        return steps
