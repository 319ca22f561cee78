"""Which of a ranker's inputs boosted trees read, and how they lie in one row; the same for training and serving."""

import numpy as np
import numpy.typing as npt

from upnext.features.spec import FeatureSpec

Floats = npt.NDArray[np.float32]


def plain_columns(names: tuple[str, ...]) -> list[int]:
    """Places of the names that stand for themselves: not one of a vector's numbers or of a list of flags (`name:3`).

    A tree asks one column at a time, so that a vector's numbers, which mean something together, only slow it down; what
    vectors know of a candidate is in the cross columns.
    """
    return [place for place, name in enumerate(names) if ":" not in name]


def tree_column_names(spec: FeatureSpec) -> list[str]:
    """The names of the columns of `tree_rows`, in their order."""
    return [
        *spec.cross,
        *(f"user.{spec.user[place]}" for place in plain_columns(spec.user)),
        *(f"item.{spec.item[place]}" for place in plain_columns(spec.item)),
    ]


def tree_rows(cross: Floats, user: Floats, item: Floats) -> Floats:
    """Side by side, (n, n_cross + n_user + n_item) float32.

    `cross` (n, n_cross), `user` (n_user,) or (n, n_user), `item` (n, n_item); the latter two hold plain columns alone.
    """
    n_cross, n_user = cross.shape[1], user.shape[-1]
    rows = np.empty((len(cross), n_cross + n_user + item.shape[1]), np.float32)
    rows[:, :n_cross] = cross
    rows[:, n_cross : n_cross + n_user] = user
    rows[:, n_cross + n_user :] = item
    return rows
