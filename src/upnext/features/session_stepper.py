"""The exported session encoder, one step of many users at a time; knows one release's items, not whose events."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from upnext.catalog.catalog import Catalog
from upnext.features.content_text import QueryVectors
from upnext.features.session_inputs import InputTables, OneEvent
from upnext.state.step_input import StepInput

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Step = tuple[Floats, Floats]  # new hidden state, session vector
_NO_TABLES = InputTables()
_NOTHING_KNOWN = StepInput()


class GraphStepper:
    """A `SessionStepper` over the step graph (inputs `state`, `item_vector`; outputs `new_state`, `vector`).

    What the graph reads as `item_vector` is the item's vector, or that of the words of a search, and what the release
    has learnt to add for action, gap and value.
    """

    def __init__(
        self,
        graph: ort.InferenceSession,
        session_items: Floats,
        catalog: Catalog,
        encoders: str,
        tables: InputTables = _NO_TABLES,
        queries: QueryVectors | None = None,
    ) -> None:
        """`session_items` (n_items, dim + 1): the encoder's item table, its bias last; zero rows are not learnt.

        Without `queries` a search is no step.
        """
        self.encoders = encoders
        self._graph = graph
        self._items = session_items
        self._catalog = catalog
        self._tables = tables
        some = any(table is not None for table in (tables.actions, tables.gaps, tables.values))
        self._one_event = OneEvent(tables) if some else None
        self._queries = queries
        state_size = next(each.shape[1] for each in graph.get_inputs() if each.name == "state")
        self._state_size = int(state_size)

    def step(self, hidden: Sequence[Floats], inputs: Sequence[StepInput]) -> list[Step | None]:
        if len(inputs) == 1:
            return self.step_rows(hidden, (self._catalog.row_of_key(inputs[0].item_key),), inputs)
        keys = np.array([each.item_key for each in inputs], np.uint64)
        return self.step_rows(hidden, self._catalog.rows_of(keys), inputs)

    def step_rows(
        self, hidden: Sequence[Floats], rows: Sequence[int] | Rows, inputs: Sequence[StepInput] = ()
    ) -> list[Step | None]:
        """The same for items' rows, -1 for one that is not known; without `inputs` nothing is known of the events."""
        inputs = inputs or [_NOTHING_KNOWN] * len(rows)
        if len(rows) == 1:
            return [self._step_one(hidden[0], int(rows[0]), inputs[0])]
        return self._step_many(hidden, np.asarray(rows, np.int32), inputs)

    def _step_one(self, hidden: Floats, row: int, one: StepInput) -> Step | None:
        vector = self._query_vector(one.query) if one.query else self._item_vector(row)
        if vector is None:
            return None
        if self._one_event is not None:
            vector = vector + self._one_event.added(one.action, one.gap_ms, one.value)
        state = hidden if len(hidden) else np.zeros(self._state_size, np.float32)
        new_state, session = self._graph.run(None, {"state": state[None], "item_vector": vector[None]})
        return new_state[0], session[0]

    def _item_vector(self, row: int) -> Floats | None:
        if row < 0:
            return None
        vector: Floats = self._items.take(np.array([row]), axis=0, mode="clip")[0, :-1]
        return vector if vector.any() else None

    def _query_vector(self, query: str) -> Floats | None:
        return None if self._queries is None else self._queries.of(query)

    def _step_many(self, hidden: Sequence[Floats], rows: Rows, inputs: Sequence[StepInput]) -> list[Step | None]:
        vectors = np.ascontiguousarray(self._items.take(rows, axis=0, mode="clip")[:, :-1])
        vectors[rows < 0] = 0.0
        for at, each in enumerate(inputs):
            if each.query:
                found = self._query_vector(each.query)
                vectors[at] = 0.0 if found is None else found
        known = np.flatnonzero(vectors.any(axis=1)).tolist()
        steps: list[Step | None] = [None] * len(rows)
        if not len(known):
            return steps
        state = np.zeros((len(known), self._state_size), np.float32)
        for at, user in enumerate(known):
            if len(hidden[user]):
                state[at] = hidden[user]
        new_state, session = self._graph.run(
            None, {"state": state, "item_vector": self._with_inputs(vectors[known], [inputs[user] for user in known])}
        )
        for at, user in enumerate(known):
            steps[user] = new_state[at], session[at]
        return steps

    def _with_inputs(self, vectors: Floats, inputs: Sequence[StepInput]) -> Floats:
        if self._one_event is None:
            return vectors
        added = self._tables.added(
            np.array([each.action for each in inputs], np.uint8),
            np.array([each.gap_ms for each in inputs], np.int64),
            np.array([each.value for each in inputs], np.float32),
        )
        return vectors if added is None else vectors + added
