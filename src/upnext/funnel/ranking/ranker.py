"""Scores for candidates by the exported graphs of a multi-exit ranker; knows nothing of where candidates come from."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from upnext.features.probability import Calibration, probabilities
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
    """One ONNX graph per exit over a table of items, in chunks of at most `chunk` candidates.

    A graph takes the items' rows of the table as `item_hidden` (int8, the folded item side) or `item` (float32, the raw
    inputs), further `user` (1, n_user) and `cross` (n, n_cross); one of anybody's own may do without some of them.
    """

    def __init__(
        self,
        graphs: dict[str, ort.InferenceSession],
        items: npt.NDArray[np.int8] | Floats,
        *,
        default_exit: str,
        chunk: int,
        n_user: int | None = None,
        n_cross: int | None = None,
        calibration: Mapping[str, Calibration] | None = None,
    ) -> None:
        """`graphs` from the shallowest exit to the deepest; `items` (n_items, width) int8 or float32.

        `n_user` and `n_cross` need only be given for graphs that do without the one or the other. `calibration`, by
        exit, is for `probability`.
        """
        self._graphs = graphs
        self._items = items
        self._chunk = chunk
        self.exits = tuple(graphs)
        self.default_exit = default_exit
        self._calibration = calibration or {}
        self._takes = {name: tuple(each.name for each in graph.get_inputs()) for name, graph in graphs.items()}
        widths = {each.name: each.shape[1] for each in graphs[default_exit].get_inputs()}
        self._n_user, self._n_cross = widths.get("user", n_user or 0), widths.get("cross", n_cross or 0)

    def with_chunk(self, chunk: int) -> "GraphRanker":
        """The same ranker, with the same graphs and items, in chunks of another size."""
        return GraphRanker(
            self._graphs, self._items, default_exit=self.default_exit, chunk=chunk, n_user=self._n_user,
            n_cross=self._n_cross, calibration=self._calibration,
        )  # fmt: skip

    def made_up_inputs(self, n: int) -> RankerInputs:
        """Inputs of `n` candidates from all over the catalogue, to measure with; the same every time."""
        return made_up_inputs(n, len(self._items), self._n_user, self._n_cross)

    def probability(self, scores: Floats, exit_name: str) -> Floats:
        """(n_candidates,) float32: of each candidate to be the one chosen, of all the scores of a request at that exit.

        What the release has measured; a plain softmax share where it has not.
        """
        return probabilities(scores, self._calibration.get(exit_name, Calibration()))

    def score(self, rows: Rows, user: Floats, cross: Floats, exit_name: str) -> Floats:
        user_row = user[None]
        if len(rows) <= self._chunk:
            return self._chunk_scores(exit_name, rows, user_row, cross)
        cuts = range(0, len(rows), self._chunk)
        parts = [
            self._chunk_scores(exit_name, rows[at : at + self._chunk], user_row, cross[at : at + self._chunk])
            for at in cuts
        ]
        return np.concatenate(parts)

    def _chunk_scores(self, exit_name: str, rows: Rows, user: Floats, cross: Floats) -> Floats:
        given = {"user": user, "cross": cross}
        feed = {
            name: given[name] if name in given else self._items.take(rows, axis=0) for name in self._takes[exit_name]
        }
        scores: Floats = self._graphs[exit_name].run(_OUTPUTS, feed)[0]
        return scores


def made_up_inputs(n: int, n_items: int, n_user: int, n_cross: int) -> RankerInputs:
    """Inputs of `n` candidates from all over a catalogue, to measure with; the same every time."""
    rng = np.random.default_rng(0)
    return RankerInputs(
        rng.integers(0, n_items, n).astype(np.int32),
        rng.normal(size=n_user).astype(np.float32),
        rng.normal(size=(n, n_cross)).astype(np.float32),
    )
