"""Ranker graphs built node by node, one per exit, in float32, int8 and with 4-bit weights; decides on no precision.

Inputs of every graph: `item_hidden` (n, n_table) int8 (float32 in the float graph), `user` (1, d_user) float32, `cross`
(n, d_cross) float32. Output: `score` (n,) float32. Rows do not see each other.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from upnext.compress.fold import RankerWeights
from upnext.compress.int4 import pack_int4
from upnext.compress.quantize import PackedSide, QuantizedLayer, QuantizedRanker

OPSET = 21
IR_VERSION = 10
MICROSOFT = "com.microsoft"
"""onnxruntime's own operators: its QGemm is a whole quantized layer, ReLU and requantizing included."""


class _Graph:
    """Nodes and constants in the making."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, value: Any) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def finish(self, item_type: int, n_first: int, n_user: int, n_cross: int) -> bytes:
        """The serialized model, checked."""
        graph = helper.make_graph(
            self.nodes,
            "ranker",
            [
                helper.make_tensor_value_info("item_hidden", item_type, ["n", n_first]),
                helper.make_tensor_value_info("user", TensorProto.FLOAT, [1, n_user]),
                helper.make_tensor_value_info("cross", TensorProto.FLOAT, ["n", n_cross]),
            ],
            [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])],
            list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="upnext")
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def float_graph(weights: RankerWeights, exit_depth: int, n_table: int | None = None) -> bytes:
    """The exit in float32: the reference that smaller precisions are compared with.

    For a float32 item table of its own; or, given `n_table`, for rows of a quantized one with so many columns, of which
    it reads the first: `weights` are then `in_table_units`.
    """
    g = _Graph()
    item = "item_hidden" if n_table is None else _item(g, len(weights.bias), n_table)
    x = g.node("Relu", [g.node("Add", [item, _float_rest(g, weights)], "first")], "x0")
    for depth, (weight, bias) in enumerate(weights.hidden[:exit_depth], start=1):
        layer = [x, g.constant(f"w{depth}", weight), g.constant(f"b{depth}", bias)]
        x = g.node("Relu", [g.node("Gemm", layer, f"y{depth}")], f"x{depth}")
    _float_score(g, x, weights, exit_depth)
    item_type = TensorProto.FLOAT if n_table is None else TensorProto.INT8
    return g.finish(item_type, n_table or len(weights.bias), len(weights.user.mean), len(weights.cross.mean))


def int4_graph(weights: RankerWeights, ranker: QuantizedRanker, exit_depth: int, n_table: int) -> bytes:
    """The exit with 4-bit weights of its hidden layers and float32 arithmetic, for rows of a quantized item table.

    `weights` as in `float_graph` with a quantized table; of `ranker` come the first layer's sides.
    """
    g = _Graph()
    first = g.node("Add", [_item(g, len(weights.bias), n_table), _packed_rest(g, ranker)], "first")
    x = g.node("Relu", [first], "x0")
    for depth, (weight, bias) in enumerate(weights.hidden[:exit_depth], start=1):
        packed = pack_int4(weight)
        values, scale = g.constant(f"w{depth}", packed.values), g.constant(f"s{depth}", packed.scale.ravel())
        inputs = [x, values, scale, "", "", g.constant(f"b{depth}", bias)]
        size = {"K": packed.n_in, "N": len(bias), "bits": 4, "block_size": packed.block}
        # Level 1 computes in float32: level 4, in int8, was slower for matrices as small as these.
        y = g.node("MatMulNBits", inputs, f"y{depth}", domain=MICROSOFT, accuracy_level=1, **size)
        x = g.node("Relu", [y], f"x{depth}")
    _float_score(g, x, weights, exit_depth)
    return g.finish(TensorProto.INT8, n_table, len(weights.user.mean), len(weights.cross.mean))


def int8_graph(ranker: QuantizedRanker, exit_depth: int, n_table: int | None = None) -> bytes:
    """The exit in int8, for rows of the quantized item table; it reads the first of `n_table` columns (None: all)."""
    g = _Graph()
    n_table = n_table or len(ranker.bias)
    # One unit everywhere: the table's integers are added as they are, and rounding into 0 … 255 is the ReLU.
    first = g.node("Add", [_item(g, len(ranker.bias), n_table), _packed_rest(g, ranker)], "first")
    one, zero = g.constant("one", np.float32(1)), g.constant("zero", np.uint8(0))
    x = g.node("QuantizeLinear", [first, one, zero], "x0")
    for depth, layer in enumerate(ranker.hidden[:exit_depth], start=1):
        x = g.node("QGemm", [*_layer(g, x, f"{depth}", layer), one, zero], f"x{depth}", domain=MICROSOFT)
    deep = g.node("QGemm", _layer(g, x, "head", ranker.heads[exit_depth]), "deep", domain=MICROSOFT)
    _finish_score(g, deep, ranker.wide[exit_depth])
    return g.finish(TensorProto.INT8, n_table, len(ranker.user.row_scale), len(ranker.cross.row_scale))


def _item(g: _Graph, n_first: int, n_table: int) -> str:
    """The first `n_first` of a row's `n_table` integers, as floats."""
    rows = "item_hidden"
    if n_first < n_table:
        begin, end, axis = (
            g.constant(name, np.array([at])) for name, at in (("begin", 0), ("end", n_first), ("axis", 1))
        )
        rows = g.node("Slice", [rows, begin, end, axis], "narrow")
    return g.node("Cast", [rows], "item", to=TensorProto.FLOAT)


def _float_rest(g: _Graph, weights: RankerWeights) -> str:
    """What user and cross inputs add to the first layer, with its bias."""
    user = g.node(
        "Gemm", ["user", g.constant("user_w", weights.user.folded), g.constant("b", weights.first_bias())], "u"
    )
    return g.node("Gemm", ["cross", g.constant("cross_w", weights.cross.folded), user], "rest")


def _packed_rest(g: _Graph, ranker: QuantizedRanker) -> str:
    """The same of weights stored in int8, in units of the item table."""
    user = g.node("Gemm", ["user", _unpack(g, "user", ranker.user), g.constant("b", ranker.bias)], "u")
    return g.node("Gemm", ["cross", _unpack(g, "cross", ranker.cross), user], "rest")


def _float_score(g: _Graph, x: str, weights: RankerWeights, exit_depth: int) -> None:
    head, offset = weights.heads[exit_depth]
    deep = g.node("Gemm", [x, g.constant("head", head), g.constant("offset", offset)], "deep")
    _finish_score(g, deep, weights.wide[exit_depth])


def _layer(g: _Graph, x: str, name: str, layer: QuantizedLayer) -> list[str]:
    """The inputs of a QGemm up to its bias."""
    return [
        x,
        "one",
        "zero",
        g.constant(f"w{name}", layer.weight),
        g.constant(f"s{name}", layer.scale),
        # Not shared between layers, though all 0: the runtime rewrites each layer's own on machines without VNNI.
        g.constant(f"z{name}", np.zeros(len(layer.scale), np.int8)),
        g.constant(f"b{name}", layer.bias),
    ]


def _unpack(g: _Graph, name: str, side: PackedSide) -> str:
    """Nodes of constants only: the runtime computes them once, when the session is opened."""
    values = g.node("Cast", [g.constant(f"{name}_q", side.values)], f"{name}_f", to=TensorProto.FLOAT)
    values = g.node("Mul", [values, g.constant(f"{name}_rows", side.row_scale[:, None])], f"{name}_r")
    return g.node("Mul", [values, g.constant(f"{name}_columns", side.column_scale)], f"{name}_w")


def _finish_score(g: _Graph, deep: str, wide: Any) -> None:
    both = g.node("Gemm", ["cross", g.constant("wide", wide[:, None]), deep], "both")
    g.node("Reshape", [both, g.constant("flat", np.array([-1]))], "score")
