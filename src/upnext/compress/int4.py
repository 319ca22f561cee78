"""4-bit weights in blocks, packed as onnxruntime's MatMulNBits reads them; knows no graph.

Each block of a column has a scale of its own: its largest weight becomes -8, so that the 16 steps reach it exactly.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.compress.fold import Floats

LARGEST_BLOCK = 32
SMALLEST_BLOCK = 16  # the runtime has no kernel for less
ZERO = 8
"""What stands for 0 among 0 … 15."""


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A weight matrix (in, out) in 4 bits: column j is (values - ZERO) × its blocks' scales, each `block` rows long.

    `values` (out, n_blocks, block / 2) uint8, two to a byte, the lower half first; `scale` (out, n_blocks) float32.
    """

    n_in: int
    block: int
    values: npt.NDArray[np.uint8]
    scale: Floats


def pack_int4(weight: Floats) -> PackedLayer:
    """The nearest 4-bit weights to `weight` (in, out)."""
    n_in, n_out = weight.shape
    block = LARGEST_BLOCK if n_in % LARGEST_BLOCK == 0 else SMALLEST_BLOCK
    padded = np.zeros((-(-n_in // block) * block, n_out), np.float32)
    padded[:n_in] = weight
    blocks = padded.T.reshape(n_out, -1, block)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
    scale = np.where(largest != 0, largest / -ZERO, 1).astype(np.float32)
    values = np.clip(np.rint(blocks / scale[:, :, None]) + ZERO, 0, 15).astype(np.uint8)
    return PackedLayer(n_in, block, values[:, :, ::2] | values[:, :, 1::2] << 4, scale)


def unpack_int4(layer: PackedLayer) -> Floats:
    """The matrix (in, out) float32 that `layer` stands for."""
    values = np.stack([layer.values & 15, layer.values >> 4], axis=3).reshape(*layer.scale.shape, layer.block)
    weight = (values.astype(np.float32) - ZERO) * layer.scale[:, :, None]
    return np.ascontiguousarray(weight.reshape(len(layer.scale), -1)[:, : layer.n_in].T)
