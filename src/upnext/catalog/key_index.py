"""Where keys stand in a sorted array of keys, found by their leading bits; knows not what the keys are of."""

import numpy as np
import numpy.typing as npt

from upnext.domain.identity import Keys

_FEWEST = 32  # keys at once; bisection is quicker for fewer
_MOST_IN_A_BUCKET = 32  # where more keys begin alike they are no hashes, and bisection is quicker too


class KeyIndex:
    """Finds hashed keys in a sorted array with about one look at memory each, where bisection takes log2(n).

    Hashes are spread evenly, so their leading bits nearly say where they stand (an interpolation search whose first
    guesses are written down: Peterson, "Addressing for random-access storage", 1957). The guesses take 4 to 8 bytes
    per key. The array must not change.
    """

    def __init__(self, sorted_keys: Keys) -> None:
        """`sorted_keys` (n,) uint64, rising."""
        self._sorted = sorted_keys
        n_bits = max(len(sorted_keys) - 1, 1).bit_length()  # a bucket or two per key
        self._shift = np.uint64(64 - n_bits)
        sizes = np.bincount((sorted_keys >> self._shift).astype(np.intp), minlength=1 << n_bits)
        self._begins = np.zeros(1 << n_bits, np.int32)  # how many keys are in the buckets before each
        np.cumsum(sizes[:-1], out=self._begins[1:])
        self._even = 0 < int(sizes.max()) <= _MOST_IN_A_BUCKET

    def places_of(self, keys: Keys) -> npt.NDArray[np.intp]:
        """(n_keys,): the number of sorted keys below each of `keys`, as `searchsorted` says it."""
        if len(keys) < _FEWEST or not self._even:
            return self._sorted.searchsorted(keys)
        places = self._begins.take((keys >> self._shift).view(np.int64)).astype(np.intp)
        behind = self._below(places, keys).nonzero()[0]
        while len(behind):
            places[behind] += 1
            behind = behind[self._below(places.take(behind), keys.take(behind))]
        return places

    def _below(self, places: npt.NDArray[np.intp], keys: Keys) -> npt.NDArray[np.bool_]:
        """(n_keys,) whether there is a key at each of `places`, and it is below that of `keys`."""
        below: npt.NDArray[np.bool_] = self._sorted.take(places, mode="clip") < keys
        return below & (places < len(self._sorted))
