"""Static int8 for the ranker: ranges seen on real lists, then integers and scales; knows no graph format.

Symmetric int8 weights with one scale per output, unsigned int8 activations (Jacob et al., "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018), ranges fixed in advance so that a candidate's
score does not depend on its batch. Each activation is measured in units of its own channel's range; the units move into
the weights on both sides, which ReLU permits (Nagel et al., "Data-Free Quantization", ICCV 2019).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.compress.fold import Floats, FoldedItems, RankerWeights, Side, fold_item_side, item_range
from upnext.models.ranker_lists import RankerLists

CALIBRATION_LISTS = 512


@dataclass(frozen=True, slots=True)
class QuantizedLayer:
    """float output j = scale[j] × (int8 inputs @ weight[:, j] + bias[j]).

    `weight` (in, out) int8, `bias` (out,) int32, `scale` (out,) float32.
    """

    weight: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int32]
    scale: Floats


@dataclass(frozen=True, slots=True)
class PackedSide:
    """A float matrix stored small: row_scale[:, None] × values × column_scale, unpacked when a session is opened.

    `values` (d, h1) int8; `row_scale` (d,), `column_scale` (h1,) float32.
    """

    values: npt.NDArray[np.int8]
    row_scale: Floats
    column_scale: Floats


@dataclass(frozen=True, slots=True)
class QuantizedRanker:
    """All of a ranker in integers; the outputs of every layer but the heads are 0 … 255 in units of the channel.

    `user`, `cross` and `bias` (h1,) float32 give the first layer in the units of the item table.
    """

    user: PackedSide
    cross: PackedSide
    bias: Floats
    hidden: tuple[QuantizedLayer, ...]
    heads: dict[int, QuantizedLayer]
    wide: dict[int, Floats]


def activation_ranges(weights: RankerWeights, lists: RankerLists) -> list[Floats]:
    """The largest value of each channel after the first and each hidden layer, on the first CALIBRATION_LISTS lists.

    The largest and not a high quantile: what saturates costs more rank agreement than the finer steps bring.
    """
    largest = [np.zeros(len(bias), np.float32) for bias in (weights.bias, *(bias for _, bias in weights.hidden))]
    for number in range(min(len(lists), CALIBRATION_LISTS)):
        valid = lists.rows[number] >= 0
        cross = lists.cross[number][valid].astype(np.float32)
        x = weights.item_part(lists.item_inputs[lists.rows[number][valid]]) + cross @ weights.cross.folded
        x = np.maximum(x + lists.user[number] @ weights.user.folded + weights.first_bias(), 0)
        np.maximum(largest[0], x.max(axis=0), out=largest[0])
        for depth, (weight, bias) in enumerate(weights.hidden, start=1):
            x = np.maximum(x @ weight + bias, 0)
            np.maximum(largest[depth], x.max(axis=0), out=largest[depth])
    return largest


def table_units(weights: RankerWeights, first_range: Floats, item_inputs: Floats) -> Floats:
    """What 1 in the item table stands for, (h1,): neither it nor the first layer's output may saturate.

    `first_range` (h1,) is the first of `activation_ranges`. The table shares the first layer's units, so that adding
    its rows needs no multiplication.
    """
    units = _units(first_range / np.float32(255))
    return _units(np.maximum(units, item_range(weights, item_inputs) / np.float32(127)))


def quantize_ranker(
    weights: RankerWeights, lists: RankerLists, units_of_table: Floats | None = None
) -> tuple[QuantizedRanker, FoldedItems]:
    """Integers for every exit and for the item table of `lists.item_inputs`, calibrated on `lists`.

    `units_of_table` (at least h1,): those of a table that rankers of several widths share; None: the best for this one.
    """
    ranges = activation_ranges(weights, lists)
    units = [_units(reached / np.float32(255)) for reached in ranges]
    if units_of_table is None:
        units_of_table = table_units(weights, ranges[0], lists.item_inputs)
    units[0] = units_of_table[: len(weights.bias)]
    hidden = tuple(
        _quantize_layer(weight, bias, entering, leaving)
        for (weight, bias), entering, leaving in zip(weights.hidden, units, units[1:], strict=False)
    )
    one = np.ones(1, np.float32)
    heads = {depth: _quantize_layer(*head, units[depth], one) for depth, head in weights.heads.items()}
    user, cross = _rounded(weights.user), _rounded(weights.cross)
    quantized = QuantizedRanker(
        user=_pack(user, units[0]),
        cross=_pack(cross, units[0]),
        # The offsets of the rounded weights: with a mean of many deviations the exact ones' would be far off.
        bias=(weights.bias + user.offset + cross.offset) / units[0],
        hidden=hidden,
        heads=heads,
        wide=weights.wide,
    )
    return quantized, fold_item_side(weights, lists.item_inputs, units[0])


def _units(units: Floats) -> Floats:
    """No channel's unit is 0: one that was always silent gets a unit far below the others."""
    return np.maximum(units, max(float(units.max(initial=0)), 1e-12) * 1e-4).astype(np.float32)


def _quantize_layer(weight: Floats, bias: Floats, entering: Floats, leaving: Floats) -> QuantizedLayer:
    """Quantize inputs in units `entering` (in,) and outputs in units `leaving` (out,)."""
    scaled = entering[:, None] * weight / leaving
    scale = _scales(scaled)
    integers = np.rint(bias / leaving / scale).clip(-(2**30), 2**30).astype(np.int32)
    return QuantizedLayer(np.rint(scaled / scale).astype(np.int8), integers, scale)


def _rounded(side: Side) -> Side:
    """The same side with weights that int8 can hold."""
    scale = _scales(side.weight)
    return Side(np.rint(side.weight / scale) * scale, side.mean, side.scale)


def _pack(side: Side, units: Floats) -> PackedSide:
    """A rounded side, its outputs in `units` (h1,)."""
    scale = _scales(side.weight)
    return PackedSide(np.rint(side.weight / scale).astype(np.int8), side.scale, scale / units)


def _scales(weight: Floats) -> Floats:
    """One scale per output, so that its largest weight becomes ±127; 1 for outputs without any weight."""
    largest = np.abs(weight).max(axis=0, initial=0)
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)
