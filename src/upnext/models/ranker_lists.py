"""Candidate lists with one right answer each, as arrays to learn ranking from; knows no model."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError
from upnext.models.ranker_config import LABELLED_TASKS

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RankerLists:
    """What the ranker saw and what was taken, for many requests.

    `item_inputs` (n_items, d_item) float32, `user` (n_lists, d_user) float32,
    `rows` (n_lists, n_candidates) int32: item rows, -1 where a list is shorter,
    `cross` (n_lists, n_candidates, d_cross) float16 or float32, whatever at padded places,
    `target` (n_lists,) int32: the place of the right candidate within its list,
    `tasks` (n_lists, len(LABELLED_TASKS)) float32: 1 or 0 as the target was completed, liked, disliked or not, NaN
    where nobody knows; None where nothing is known of any,
    `weights` (n_lists,) float32, 0 or more: how much each list counts in training; None: all alike.
    Numbers are raw and finite: what is unknown has been filled by the assembly, alike for training and serving.
    Raises TrainingError when the parts do not fit together.
    """

    item_inputs: Floats
    user: Floats
    rows: npt.NDArray[np.int32]
    cross: npt.NDArray[np.float16] | Floats
    target: npt.NDArray[np.int32]
    tasks: Floats | None = None
    weights: Floats | None = None

    def __post_init__(self) -> None:
        n_lists, n_candidates = self.rows.shape
        if self.cross.shape[:2] != self.rows.shape or len(self.user) != n_lists or self.target.shape != (n_lists,):
            raise TrainingError(
                f"the parts of the lists differ in number: rows {self.rows.shape}, cross {self.cross.shape}, "
                f"user {self.user.shape}, target {self.target.shape}; build them from the same requests"
            )
        if self.rows.size and self.rows.max() >= len(self.item_inputs):
            raise TrainingError(f"a list names item row {self.rows.max()}, but there are {len(self.item_inputs)} items")
        inside = (self.target >= 0) & (self.target < n_candidates)
        if not inside.all() or np.any(self.rows[np.arange(n_lists), self.target] < 0):
            raise TrainingError("a target lies outside its list; leave out lists that do not hold their target")
        _check_labels(self.tasks, self.weights, n_lists)
        for name, part in (("item_inputs", self.item_inputs), ("user", self.user), ("cross", self.cross)):
            _check_finite(name, part)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_candidates(self) -> int:
        return int(self.rows.shape[1])

    def take(self, lists: npt.NDArray[np.int64]) -> "RankerLists":
        """The lists of these numbers, in this order."""
        return replace(
            self,
            user=self.user[lists],
            rows=self.rows[lists],
            cross=self.cross[lists],
            target=self.target[lists],
            tasks=None if self.tasks is None else self.tasks[lists],
            weights=None if self.weights is None else self.weights[lists],
        )

    def labels(self) -> Floats:
        """`tasks` as an array, all NaN where there are none."""
        return np.full((len(self), len(LABELLED_TASKS)), np.nan, np.float32) if self.tasks is None else self.tasks

    def counts(self) -> Floats:
        """`weights` as an array, all 1 where there are none."""
        return np.ones(len(self), np.float32) if self.weights is None else self.weights


def _check_finite(name: str, part: npt.NDArray[np.floating]) -> None:
    for begin in range(0, len(part), 1024):  # in pieces: the mask of a whole cross array would be gigabytes
        finite = np.isfinite(part[begin : begin + 1024])
        if not finite.all():
            column = int(np.argwhere(~finite)[0, -1])
            raise TrainingError(
                f"column {column} of {name} holds a value that is not finite; fill unknown values and scale large ones "
                "(float16 ends at 65,504) before building lists"
            )


def _check_labels(tasks: Floats | None, weights: Floats | None, n_lists: int) -> None:
    if tasks is not None and tasks.shape != (n_lists, len(LABELLED_TASKS)):
        raise TrainingError(
            f"the labels of {n_lists} lists must be of shape {(n_lists, len(LABELLED_TASKS))}, one column each for "
            f"{', '.join(LABELLED_TASKS)}, but are {tasks.shape}"
        )
    if tasks is not None and not np.all(np.isnan(tasks) | (tasks == 0) | (tasks == 1)):
        raise TrainingError("a label is neither 0, 1 nor NaN; use NaN for what is not known")
    if weights is not None and (weights.shape != (n_lists,) or not np.all(np.isfinite(weights) & (weights >= 0))):
        raise TrainingError(f"the weights of {n_lists} lists must be as many finite numbers of 0 or more")
