"""A ranker at several widths, whole and pruned, over one item table; measures nothing and chooses none.

Every width takes the leading neurons of the first layer and leaves their item side as the whole ranker learnt it, so a
single table, cut off at each width, serves them all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from upnext.compress.export import float_graph, int4_graph, int8_graph
from upnext.compress.finetune import fine_tune
from upnext.compress.fold import Floats, FoldedItems, RankerWeights, fold_item_side, in_table_units, ranker_weights
from upnext.compress.prune import by_importance, prune, pruned_config
from upnext.compress.quantize import QuantizedRanker, activation_ranges, quantize_ranker, table_units
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists

PRECISIONS = ("float32", "int8", "int4")


@dataclass(frozen=True, slots=True)
class Width:
    """The ranker with `share` of its neurons: trained, and in integers in units of the shared table."""

    share: float
    model: RankerDnn
    weights: RankerWeights
    in_units: RankerWeights
    quantized: QuantizedRanker

    @property
    def n_first(self) -> int:
        """Neurons of the first layer, and so the columns of the item table that it reads."""
        return len(self.weights.bias)

    def graph(self, precision: str, exit_depth: int, n_table: int) -> bytes:
        """An exit in one of PRECISIONS, for rows of a table of `n_table` columns (at least `n_first`)."""
        if precision == "float32":
            return float_graph(self.in_units, exit_depth, n_table)
        if precision == "int8":
            return int8_graph(self.quantized, exit_depth, n_table)
        return int4_graph(self.in_units, self.quantized, exit_depth, n_table)


@dataclass(frozen=True, slots=True)
class Widths:
    """All widths by their share of neurons, the whole ranker (1.0) first, and the units of their table (h1,)."""

    by_share: dict[float, Width]
    units: Floats

    def table(self, n_columns: int, item_inputs: Floats) -> FoldedItems:
        """The first columns of the item table, for a catalogue (n_items, d_item)."""
        wide_enough = min((w for w in self.by_share.values() if w.n_first >= n_columns), key=lambda w: w.n_first)
        return fold_item_side(wide_enough.weights, item_inputs, self.units[: wide_enough.n_first]).first(n_columns)


def pruned_models(
    model: RankerDnn,
    shares: Sequence[float],
    lists: RankerLists,
    *,
    epochs: int,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> dict[float, RankerDnn]:
    """`model` with its neurons sorted, as 1.0, and pruned to each smaller share and fine-tuned on `lists`.

    Shares that come to the same widths are one. For `epochs` passes over the lists each; the model itself stays as it
    is.
    """
    models, known = {1.0: by_importance(model)}, {_widths_of(model)}
    for share in sorted(shares, reverse=True):
        config = pruned_config(model.config, share)
        if share < 1 and (config.first_width, *config.hidden) not in known:
            smaller = prune(models[1.0], share)
            models[share] = fine_tune(smaller, models[1.0], lists, epochs=epochs, seed=seed, progress=progress)
            known.add(_widths_of(smaller))
    return models


def quantize_widths(models: dict[float, RankerDnn], lists: RankerLists) -> Widths:
    """`models` by their share, as `pruned_models` makes them, in integers calibrated on `lists`."""
    weights = {share: ranker_weights(model) for share, model in models.items()}
    units = np.zeros(len(weights[1.0].bias), np.float32)
    for each in weights.values():
        its_units = table_units(each, activation_ranges(each, lists)[0], lists.item_inputs)
        np.maximum(units[: len(its_units)], its_units, out=units[: len(its_units)])
    by_share = {
        share: Width(
            share,
            models[share],
            each,
            in_table_units(each, units[: len(each.bias)]),
            quantize_ranker(each, lists, units)[0],
        )
        for share, each in weights.items()
    }
    return Widths(by_share, units)


def _widths_of(model: RankerDnn) -> tuple[int, ...]:
    return (model.config.first_width, *model.config.hidden)
