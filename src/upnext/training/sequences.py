"""Histories as flat arrays, and their cutting into windows and batches; knows no model and no file format."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError
from upnext.features.session_inputs import UNKNOWN_GAP_MS

PADDING = -1
"""Marks a place in a batch that holds no event. Batches are padded on the right only."""

_BESIDE = ("actions", "times_ms", "values", "targets")


@dataclass(frozen=True, slots=True)
class Sequences:
    """The histories of many users, back to back.

    `offsets` (n_users + 1,) int64: user u owns `items[offsets[u]:offsets[u + 1]]`, possibly nothing.
    `items` (n_events,) int32: item rows, oldest first. What else is known of each event, each (n_events,) or None:
    `actions` uint8 codes, `times_ms` int64, `values` float32 with NaN for none. `targets` (n_events,) bool: False for
    an event that is read but not to be predicted; None, all are. Raises TrainingError when these do not fit together.
    """

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    actions: npt.NDArray[np.uint8] | None = None
    times_ms: npt.NDArray[np.int64] | None = None
    values: npt.NDArray[np.float32] | None = None
    targets: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or len(self.offsets) == 0 or self.offsets[0] != 0:
            raise TrainingError("the offsets of a Sequences must be one row starting with 0; build it with from_events")
        if np.any(np.diff(self.offsets) < 0) or self.offsets[-1] != len(self.items):
            raise TrainingError(
                f"the offsets must grow and end at the number of events ({len(self.items)}), "
                f"but end at {self.offsets[-1]}; build the Sequences with from_events"
            )
        if len(self.items) and self.items.min() < 0:
            raise TrainingError("an item row is negative; leave out events of items the vocabulary does not know")
        for name in _BESIDE:
            column = getattr(self, name)
            if column is not None and len(column) != len(self.items):
                raise TrainingError(
                    f"a Sequences has {len(self.items)} events, but {len(column)} {name}; give one per event or None"
                )

    @classmethod
    def from_events(
        cls, users: npt.ArrayLike, items: npt.ArrayLike, n_users: int, **beside: npt.NDArray[Any]
    ) -> "Sequences":
        """Group events by user. `users`, `items` (n_events,) rows, oldest first; the order within a user is kept.

        `beside`: any of `actions`, `times_ms`, `values`, `targets`, one entry per event in the order of `items`.
        """
        user_rows = np.asarray(users, dtype=np.int64)
        order = np.argsort(user_rows, kind="stable")  # an unstable sort would change what comes last
        offsets = np.zeros(n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(user_rows, minlength=n_users), out=offsets[1:])
        ordered = {name: column[order] for name, column in beside.items()}
        return cls(offsets, np.asarray(items, dtype=np.int32)[order], **ordered)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Events per user, (n_users,) int64."""
        return np.diff(self.offsets)

    def columns(self) -> list[npt.NDArray[Any]]:
        """All arrays that there are, offsets first."""
        columns = (self.offsets, self.items, *(getattr(self, name) for name in _BESIDE))
        return [column for column in columns if column is not None]

    def take(self, users: npt.NDArray[np.integer]) -> "Sequences":
        """The histories of `users`, in their order."""
        lengths = self.lengths[users]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return self._at(offsets, np.arange(offsets[-1]) + np.repeat(self.offsets[users] - offsets[:-1], lengths))

    def without_last(self, n_events: int) -> "Sequences":
        """The same users without their newest `n_events` events; shorter histories become empty."""
        kept = np.maximum(self.lengths - n_events, 0)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
        return self._at(offsets, np.arange(offsets[-1]) + np.repeat(self.offsets[:-1] - offsets[:-1], kept))

    def gaps_ms(self) -> npt.NDArray[np.int64] | None:
        """Milliseconds since the event before in the same history, (n_events,) int64, -1 for none; None without times.

        Never below 0 otherwise: an event that came late follows its neighbour at once.
        """
        if self.times_ms is None:
            return None
        gaps = np.maximum(np.diff(self.times_ms, prepend=0), 0)
        gaps[self.offsets[:-1][self.lengths > 0]] = UNKNOWN_GAP_MS
        return gaps

    def _at(self, offsets: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> "Sequences":
        """Histories at `offsets` of the events at `places`."""
        columns = {name: getattr(self, name) for name in _BESIDE}
        kept = {name: column[places] for name, column in columns.items() if column is not None}
        return Sequences(offsets, self.items[places], **kept)


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of histories to learn from: the inputs of window w are `items[starts[w]:starts[w] + lengths[w]]`.

    The target of an input is the event after it, so each window reaches one event further than its inputs.
    """

    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def cut_windows(sequences: Sequences, max_length: int, rng: np.random.Generator) -> Windows:
    """Cut every history into windows of at most `max_length` targets; each event but the first is a target once.

    Where the cuts fall is drawn anew by `rng` for every user, so that over the epochs an event is seen with much and
    with little before it. Histories of fewer than two events give no window.
    """
    targets = np.maximum(sequences.lengths - 1, 0)
    # A history that fits into one window is never cut; of a longer one the first window is shortened at random.
    first = np.where(targets > max_length, rng.integers(1, max_length + 1, len(targets)), targets)
    n_windows = np.where(targets > 0, 1 + -(-(targets - first) // max_length), 0)
    user = np.repeat(np.arange(len(targets)), n_windows)
    number = np.arange(len(user)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    begin = np.where(number == 0, 0, first[user] + (number - 1) * max_length)
    end = np.minimum(first[user] + number * max_length, targets[user])
    return Windows(starts=sequences.offsets[user] + begin, lengths=end - begin)


def plan_batches(
    lengths: npt.NDArray[np.int64], max_places: int, rng: np.random.Generator | None
) -> list[npt.NDArray[np.int64]]:
    """Group rows of like length, so that rows × longest of no group exceeds `max_places` (one row always fits).

    Returns arrays of row numbers: each row once, rows of one length and the groups themselves in an order drawn by
    `rng`; without it both stay as they are, shortest first.
    """
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    batches = []
    end = len(order)
    while end > 0:  # from the longest down: the last row of what is left decides how many fit
        size = max(1, max_places // max(1, int(lengths[order[end - 1]])))
        batches.append(order[max(0, end - size) : end])
        end -= size
    batches.reverse()
    return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]


def pad(
    items: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Rows `items[start:start + length]`, (n_rows, longest) int64, filled up on the right with PADDING."""
    places = np.arange(int(lengths.max(initial=0)))
    valid = places < lengths[:, None]
    rows = items[np.where(valid, starts[:, None] + places, 0)] if len(items) else np.zeros(valid.shape, np.int32)
    return np.where(valid, rows, PADDING).astype(np.int64)


def training_batches(
    sequences: Sequences, max_length: int, batch_events: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """One epoch: the events read, (n_rows, longest) int64 each, as places in `sequences.items`; cut and shuffled anew.

    The target of the event at place p is the one at p + 1. PADDING fills up on the right.
    """
    windows = cut_windows(sequences, max_length, rng)
    for batch in plan_batches(windows.lengths, batch_events, rng):
        starts, lengths = windows.starts[batch], windows.lengths[batch]
        places = np.arange(int(lengths.max(initial=0)))
        yield np.where(places < lengths[:, None], starts[:, None] + places, PADDING)
