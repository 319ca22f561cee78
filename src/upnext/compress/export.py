"""Ranker graphs built node by node, one per exit, in float32 and in int8; decides nothing about precision.

Inputs of every graph: `item_hidden` (n, h1) int8 (float32 in the float graph), `user` (1, d_user) float32, `cross`
(n, d_cross) float32. Output: `score` (n,) float32. Rows do not see each other.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from upnext.compress.fold import RankerWeights
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


def float_graph(weights: RankerWeights, exit_depth: int) -> bytes:
    """The exit in float32: the reference that int8 is compared with."""
    g = _Graph()
    user = g.node(
        "Gemm", ["user", g.constant("user_w", weights.user.folded), g.constant("b", weights.first_bias())], "u"
    )
    rest = g.node("Gemm", ["cross", g.constant("cross_w", weights.cross.folded), user], "rest")
    x = g.node("Relu", [g.node("Add", ["item_hidden", rest], "first")], "x0")
    for depth, (weight, bias) in enumerate(weights.hidden[:exit_depth], start=1):
        layer = [x, g.constant(f"w{depth}", weight), g.constant(f"b{depth}", bias)]
        x = g.node("Relu", [g.node("Gemm", layer, f"y{depth}")], f"x{depth}")
    head, offset = weights.heads[exit_depth]
    deep = g.node("Gemm", [x, g.constant("head", head), g.constant("offset", offset)], "deep")
    _finish_score(g, deep, weights.wide[exit_depth])
    return g.finish(TensorProto.FLOAT, len(weights.bias), len(weights.user.mean), len(weights.cross.mean))


def int8_graph(ranker: QuantizedRanker, exit_depth: int) -> bytes:
    """The exit in int8, for the rows of the quantized item table."""
    g = _Graph()
    user = g.node("Gemm", ["user", _unpack(g, "user", ranker.user), g.constant("b", ranker.bias)], "u")
    rest = g.node("Gemm", ["cross", _unpack(g, "cross", ranker.cross), user], "rest")
    # One unit everywhere: the table's integers are added as they are, and rounding into 0 … 255 is the ReLU.
    item = g.node("Cast", ["item_hidden"], "item", to=TensorProto.FLOAT)
    one, zero = g.constant("one", np.float32(1)), g.constant("zero", np.uint8(0))
    x = g.node("QuantizeLinear", [g.node("Add", [item, rest], "first"), one, zero], "x0")
    for depth, layer in enumerate(ranker.hidden[:exit_depth], start=1):
        x = g.node("QGemm", [*_layer(g, x, f"{depth}", layer), one, zero], f"x{depth}", domain=MICROSOFT)
    deep = g.node("QGemm", _layer(g, x, "head", ranker.heads[exit_depth]), "deep", domain=MICROSOFT)
    _finish_score(g, deep, ranker.wide[exit_depth])
    return g.finish(TensorProto.INT8, len(ranker.bias), len(ranker.user.row_scale), len(ranker.cross.row_scale))


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
