"""The trained ranker as plain matrices, and its item side computed once per item; knows no graph format."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from upnext.features.fold import fold_rows
from upnext.models.ranker_dnn import RankerDnn, Standardise

Floats = npt.NDArray[np.float32]

BLOCK_ITEMS = 65_536


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the first layer: standardised inputs times `weight` (d, h1); standardising is `(x - mean) * scale`.

    `folded` does both at once on raw inputs: `x @ folded + offset`.
    """

    weight: Floats
    mean: Floats
    scale: Floats

    @property
    def folded(self) -> Floats:
        """(d, h1) float32."""
        return self.scale[:, None] * self.weight

    @property
    def offset(self) -> Floats:
        """(h1,) float32."""
        return np.asarray(-(self.mean * self.scale) @ self.weight, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class RankerWeights:
    """A trained ranker without its framework, float32, ready to multiply from the left.

    `bias` (h1,) of the first layer; `hidden` pairs of weight (in, out) and bias (out,); per exit `heads[depth]` such a
    pair with one output and `wide[depth]` (d_cross,) for raw cross inputs. Exits are named by their depth.
    """

    item: Side
    user: Side
    cross: Side
    bias: Floats
    hidden: tuple[tuple[Floats, Floats], ...]
    heads: dict[int, tuple[Floats, Floats]]
    wide: dict[int, Floats]

    @property
    def exits(self) -> tuple[int, ...]:
        return tuple(self.heads)

    def item_part(self, item_inputs: Floats) -> Floats:
        """What items add to the first layer, (n, h1) float32, from raw inputs (n, d_item); average items add 0."""
        return np.asarray(((item_inputs - self.item.mean) * self.item.scale) @ self.item.weight, dtype=np.float32)

    def first_bias(self) -> Floats:
        """(h1,) float32: the bias once user and cross inputs are multiplied raw."""
        return self.bias + self.user.offset + self.cross.offset


def in_table_units(weights: RankerWeights, units: Floats) -> RankerWeights:
    """The same scores, with the outputs of the first layer in `units` (h1,), so that a table's integers can be added.

    ReLU permits it: the units move into the next layer's weights.
    """
    sides = (Side(side.weight / units, side.mean, side.scale) for side in (weights.item, weights.user, weights.cross))
    item, user, cross = sides
    (weight, bias), *deeper = weights.hidden
    hidden = ((units[:, None] * weight, bias), *deeper)
    return replace(weights, item=item, user=user, cross=cross, bias=weights.bias / units, hidden=hidden)


def ranker_weights(model: RankerDnn) -> RankerWeights:
    """Copy a trained ranker out of its framework."""
    depths = model.config.exits
    combined = model.combined_heads()
    heads = [_array(head)[:, None] for head, _ in combined]
    wide = np.stack([_array(row) for _, row in combined]) * _array(model.cross_inputs.scale)
    offsets = -wide @ _array(model.cross_inputs.mean)  # the wide part's standardisation, moved into the heads
    hidden = [_array(parameter) for parameter in model.hidden.parameters()]
    return RankerWeights(
        item=_side(model.item_inputs, model.item_side),
        user=_side(model.user_inputs, model.user_side),
        cross=_side(model.cross_inputs, model.cross_side),
        bias=_array(model.user_side.bias),
        hidden=tuple((weight.T.copy(), bias) for weight, bias in zip(hidden[::2], hidden[1::2], strict=True)),
        heads=dict(zip(depths, zip(heads, offsets[:, None], strict=True), strict=True)),
        wide=dict(zip(depths, wide, strict=True)),
    )


@dataclass(frozen=True, slots=True)
class FoldedItems:
    """The item side of the first layer, quantized: one int8 row per item, in units of `scale` per column.

    `table` (n_items, h1) int8; `scale` (h1,) float32; `weight` (d_item, h1) and `offset` (h1,) float32 turn the raw
    inputs of an item that is not in the table into its row.
    """

    table: npt.NDArray[np.int8]
    scale: Floats
    weight: Floats
    offset: Floats

    def rows(self, item_inputs: Floats) -> npt.NDArray[np.int8]:
        """Rows (n, h1) int8 for raw inputs (n, d_item)."""
        return fold_rows(item_inputs, self.weight, self.offset)

    def of(self, item_inputs: Floats) -> "FoldedItems":
        """The table of a catalogue (n_items, d_item), in blocks, to bound memory."""
        table = np.empty((len(item_inputs), len(self.scale)), dtype=np.int8)
        for begin in range(0, len(table), BLOCK_ITEMS):
            block = slice(begin, begin + BLOCK_ITEMS)
            table[block] = self.rows(item_inputs[block])
        return FoldedItems(table, self.scale, self.weight, self.offset)

    def first(self, n_columns: int) -> "FoldedItems":
        """The table's first columns."""
        cut = slice(n_columns)
        table = np.ascontiguousarray(self.table[:, cut])
        return FoldedItems(table, self.scale[cut], np.ascontiguousarray(self.weight[:, cut]), self.offset[cut])


def fold_item_side(weights: RankerWeights, item_inputs: Floats, scale: Floats) -> FoldedItems:
    """The table of the whole catalogue (n_items, d_item), quantized with `scale` (h1,)."""
    empty = np.empty((0, len(scale)), dtype=np.int8)
    return FoldedItems(empty, scale, weights.item.folded / scale, weights.item.offset / scale).of(item_inputs)


def item_range(weights: RankerWeights, item_inputs: Floats) -> Floats:
    """The largest absolute item part per column over the catalogue, (h1,) float32; 0 for an empty catalogue."""
    largest = np.zeros(weights.item.weight.shape[1], dtype=np.float32)
    for begin in range(0, len(item_inputs), BLOCK_ITEMS):
        part = weights.item_part(item_inputs[begin : begin + BLOCK_ITEMS])
        np.maximum(largest, np.abs(part).max(axis=0), out=largest)
    return largest


def _side(inputs: Standardise, linear: nn.Linear) -> Side:
    return Side(weight=_array(linear.weight).T.copy(), mean=_array(inputs.mean), scale=_array(inputs.scale))


def _array(tensor: torch.Tensor) -> Floats:
    return tensor.detach().float().cpu().numpy().copy()
