"""A place to save to and load from, in the part of a release."""

from typing import Any

import numpy as np
import numpy.typing as npt


class KeptArrays:
    """What a release keeps of arrays: copies that cannot be written to."""

    def __init__(self) -> None:
        self.arrays: dict[str, npt.NDArray[Any]] = {}

    def add_array(self, name: str, array: npt.NDArray[Any]) -> None:
        assert name not in self.arrays
        self.arrays[name] = np.array(array)
        self.arrays[name].flags.writeable = False

    def array(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]

    @property
    def n_bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())
