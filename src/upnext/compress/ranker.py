"""A trained ranker made ready to serve: graphs of all exits and the item table; judges nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime

from upnext.compress.export import float_graph, int8_graph
from upnext.compress.fold import Floats, FoldedItems, RankerWeights, ranker_weights
from upnext.compress.quantize import quantize_ranker
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists


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


def score_lists_with(session: onnxruntime.InferenceSession, exported: ExportedRanker, lists: RankerLists) -> Floats:
    """Scores (n_lists, n_candidates) float32 of a graph, one list at a time as in serving; -inf at padded places."""
    quantized = "int8" in session.get_inputs()[0].type
    scores = np.full(lists.rows.shape, -np.inf, dtype=np.float32)
    for number, rows in enumerate(lists.rows):
        valid = rows >= 0
        chosen = rows[valid]
        part = exported.items.table[chosen] if quantized else exported.weights.item_part(lists.item_inputs[chosen])
        user, cross = lists.user[number : number + 1], lists.cross[number][valid].astype(np.float32)
        scores[number, valid] = session.run(None, {"item_hidden": part, "user": user, "cross": cross})[0]
    return scores
