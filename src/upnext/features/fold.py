"""Raw inputs of items to rows of the table that the ranker's graphs read; knows not how the weights were learned."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def fold_rows(item_inputs: Floats, weight: Floats, offset: Floats) -> npt.NDArray[np.int8]:
    """Rows (n, h1) int8 for raw inputs (n, d_item): `clip(rint(inputs @ weight + offset), -127, 127)`, ties to even.

    `weight` (d_item, h1) and `offset` (h1,): the item side of the first layer, standardising folded in, in the table's
    units.
    """
    rounded: npt.NDArray[np.float32] = np.rint(item_inputs @ weight + offset)
    return rounded.clip(-127, 127).astype(np.int8)
