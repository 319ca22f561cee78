"""Rows that a release keeps free at the end of its arrays, for items posted after it was made."""

from typing import Any

import numpy as np
import numpy.typing as npt


def with_spare_rows(array: npt.NDArray[Any], spare: int, fill: object = 0) -> npt.NDArray[Any]:
    """`array` (n, …) with `spare` more rows of `fill` at its end, of the same type; itself where `spare` is 0."""
    if not spare:
        return array
    return np.concatenate([array, np.full((spare, *array.shape[1:]), fill, array.dtype)])
