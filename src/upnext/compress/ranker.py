"""A trained ranker made ready to serve: graphs of all exits and the item table; judges nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime

from upnext.compress.export import float_graph, int8_graph
from upnext.compress.fold import Floats, FoldedItems, RankerWeights, ranker_weights
from upnext.compress.quantize import quantize_ranker
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists

ItemPart = Callable[[npt.NDArray[np.int32]], npt.NDArray[np.generic]]
"""Catalogue rows (n,) to the `item_hidden` of a graph."""


@dataclass(frozen=True, slots=True)
class ExportedRanker:
    """Every exit of a ranker as serialized graphs, by depth, and the item table that the int8 graphs read."""

    weights: RankerWeights
    items: FoldedItems
    float_graphs: Mapping[int, bytes]
    int8_graphs: Mapping[int, bytes]


def export_ranker(model: RankerDnn, calibration: RankerLists) -> ExportedRanker:
    """All graphs of `model`, int8 ones calibrated on `calibration`, and the table of its whole catalogue.

    Calibrate on lists like those of serving; the ones trained on will do.
    """
    weights = ranker_weights(model)
    quantized, items = quantize_ranker(weights, calibration)
    return ExportedRanker(
        weights=weights,
        items=items,
        float_graphs={depth: float_graph(weights, depth) for depth in weights.exits},
        int8_graphs={depth: int8_graph(quantized, depth) for depth in weights.exits},
    )


def float_items(weights: RankerWeights, lists: RankerLists) -> ItemPart:
    """The item side in float32, computed when asked for: its table would be four times the quantized one."""
    return lambda rows: weights.item_part(lists.item_inputs[rows])


def table_items(table: npt.NDArray[np.int8]) -> ItemPart:
    """Rows of the quantized item table (n_items, h1)."""
    return lambda rows: table[rows]


def score_lists_with(session: onnxruntime.InferenceSession, items: ItemPart, lists: RankerLists) -> Floats:
    """Scores (n_lists, n_candidates) float32 of a graph, one list at a time as in serving; -inf at padded places."""
    scores = np.full(lists.rows.shape, -np.inf, dtype=np.float32)
    for number, rows in enumerate(lists.rows):
        valid = rows >= 0
        user, cross = lists.user[number : number + 1], lists.cross[number][valid].astype(np.float32)
        feed = {"item_hidden": items(rows[valid]), "user": user, "cross": cross}
        scores[number, valid] = session.run(None, feed)[0]
    return scores
