"""Histories of heavy users taken apart into interests, each of which can be asked about alone; knows no model."""

import numpy as np
import numpy.typing as npt

from upnext.training.sequences import Sequences

NEWEST_EVENTS = 150
"""Of a longer history only so many take part; clustering costs the square of them."""


def apart(
    histories: Sequences, vectors: npt.NDArray[np.float32], n_interests: int, *, fewest: int = 50
) -> tuple[Sequences, npt.NDArray[np.int64]]:
    """Each history of at least `fewest` events as up to `n_interests` parts; shorter ones stay whole.

    Parts are clusters of the items' `vectors` (n_items, D), of length 1 before, by Ward's method, as PinnerSage does
    (Pal et al., KDD 2020); within a part the order of events stays. Returns the parts, and the history of each
    (n_parts,), those of one history side by side, the part with the newest event first.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    parts: list[npt.NDArray[np.int32]] = []
    owners: list[int] = []
    for user, begin in enumerate(histories.offsets[:-1].tolist()):
        items = histories.items[begin : histories.offsets[user + 1]][-NEWEST_EVENTS:]
        found = [items] if len(items) < fewest or n_interests < 2 else _clusters(items, directions, n_interests)
        parts += found
        owners += [user] * len(found)
    offsets = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return Sequences(offsets, np.concatenate([np.zeros(0, np.int32), *parts])), np.array(owners, np.int64)


def best_of_parts(scores: npt.NDArray[np.float32], owners: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """The highest score of each item over the parts of each history, (n_histories, n_items).

    `scores` (n_parts, n_items); `owners` (n_parts,) as `apart` gives them, every history having a part.
    """
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.maximum.reduceat(scores, starts, axis=0)


def _clusters(
    items: npt.NDArray[np.int32], directions: npt.NDArray[np.float32], n_interests: int
) -> list[npt.NDArray[np.int32]]:
    from scipy.cluster.hierarchy import fcluster, linkage

    rows, of_event = np.unique(items, return_inverse=True)
    if len(rows) < 2:
        return [items]
    label = fcluster(linkage(directions[rows], "ward"), n_interests, "maxclust")[of_event]
    last = {int(name): place for place, name in enumerate(label)}
    return [items[label == name] for name in sorted(last, key=last.__getitem__, reverse=True)]
