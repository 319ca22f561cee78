"""Scores for candidates by the exported graphs of a multi-exit ranker; knows nothing of where candidates come from."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from upnext.funnel.answer import RankerInputs

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_OUTPUTS = ["score"]


class Ranker(Protocol):
    """Scores candidates, each independently of the others. Only computes; never waits."""

    exits: tuple[str, ...]  # from the shallowest to the deepest
    default_exit: str

    def score(self, rows: Rows, user: Floats, cross: Floats, exit_name: str) -> Floats:
        """(n_candidates,) float32, higher is better.

        `rows` (n_candidates,); `user` (n_user_features,); `cross` (n_candidates, n_cross_features).
        """


class GraphRanker:
    """One ONNX graph per exit over the folded item side, in chunks of at most `chunk` candidates."""

    def __init__(
        self,
        graphs: dict[str, ort.InferenceSession],
        item_hidden: npt.NDArray[np.int8],
        *,
        default_exit: str,
        chunk: int,
    ) -> None:
        """`graphs` from the shallowest exit to the deepest; `item_hidden` (n_items, width) int8."""
        self._graphs = graphs
        self._item_hidden = item_hidden
        self._chunk = chunk
        self.exits = tuple(graphs)
        self.default_exit = default_exit

    def with_chunk(self, chunk: int) -> "GraphRanker":
        """The same ranker, with the same graphs and items, in chunks of another size."""
        return GraphRanker(self._graphs, self._item_hidden, default_exit=self.default_exit, chunk=chunk)

    def made_up_inputs(self, n: int) -> RankerInputs:
        """Inputs of `n` candidates from all over the catalogue, to measure with; the same every time."""
        rng = np.random.default_rng(0)
        _, user, cross = self._graphs[self.default_exit].get_inputs()
        return RankerInputs(
            rng.integers(0, len(self._item_hidden), n).astype(np.int32),
            rng.normal(size=user.shape[1]).astype(np.float32),
            rng.normal(size=(n, cross.shape[1])).astype(np.float32),
        )

    def score(self, rows: Rows, user: Floats, cross: Floats, exit_name: str) -> Floats:
        graph, user_row = self._graphs[exit_name], user[None]
        if len(rows) <= self._chunk:
            return self._chunk_scores(graph, rows, user_row, cross)
        cuts = range(0, len(rows), self._chunk)
        parts = [
            self._chunk_scores(graph, rows[at : at + self._chunk], user_row, cross[at : at + self._chunk])
            for at in cuts
        ]
        return np.concatenate(parts)

    def _chunk_scores(self, graph: ort.InferenceSession, rows: Rows, user: Floats, cross: Floats) -> Floats:
        item_hidden = self._item_hidden.take(rows, axis=0)
        scores: Floats = graph.run(_OUTPUTS, {"item_hidden": item_hidden, "user": user, "cross": cross})[0]
        return scores
