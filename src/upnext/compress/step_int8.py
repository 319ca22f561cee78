"""The session step with its matrix products in int8: ranges fixed on real histories; judges nothing.

Static quantisation by ONNX Runtime (Jacob et al., 2018): scales found at run time would be those of the whole batch, so
that a user's state would depend on who else stepped at that moment. The recurrence and the norms stay in float32.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

Feed = dict[str, npt.NDArray[np.float32]]


def int8_step_graph(graph: bytes, feeds: list[Feed]) -> bytes:
    """`graph` with int8 weights, one scale per output, and activations in the ranges seen on `feeds`."""
    root = logging.getLogger()
    level = root.level
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(graph)
        root.setLevel(logging.ERROR)  # the quantiser warns on the root logger that it would like another pass first
        try:
            quantize_static(
                source, target, _Feeds(feeds), quant_format=QuantFormat.QOperator, per_channel=True,
                op_types_to_quantize=["MatMul", "Gemm"], activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        finally:
            root.setLevel(level)
        return target.read_bytes()


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
    """Hands out the feeds one by one, as the calibration asks."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._left: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._left, None)
