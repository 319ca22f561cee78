"""What one event is to a session encoder, of an event now and of interactions remembered; knows no encoder."""

from typing import NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from upnext.domain.event import ACTIONS, HINTS, INTERACTIONS
from upnext.settings import StateSettings, StepAction

UNKNOWN_ACTION = 255  # a code that no action has
UNKNOWN_GAP_MS = -1
UNKNOWN_VALUE = float("nan")
DEFAULT_WEIGHTS: dict[str, float] = dict.fromkeys(INTERACTIONS, 1.0) | {"hover": 0.25, "search": 0.5, "dislike": -0.5}
assert DEFAULT_WEIGHTS.keys() == INTERACTIONS | HINTS


class StepInput(msgspec.Struct, gc=False):
    """One event as a session encoder reads it: an item, or the words of a search in place of one.

    The gap is the time since the user's interaction before, in whatever order the log has them: what is remembered of
    a user, and what training reads, are interactions alone.
    """

    item_key: int = 0
    action: int = UNKNOWN_ACTION  # its code
    gap_ms: int = UNKNOWN_GAP_MS  # 0 or more; -1 where no interaction before is known
    value: float = UNKNOWN_VALUE  # NaN for none; one that float32 holds
    weight: float = 1.0  # in [-1, 1]: how much of the step is taken; below 0 away from where it leads
    query: str = ""  # of a search; where there is one, the item does not matter


def weight_of(action: str, settings: StateSettings) -> float:
    """How much of a step an event of this action is, in [-1, 1]; 0 for one that moves no vector. 0.1 µs."""
    weight = settings.action_weights.get(cast(StepAction, action))
    return DEFAULT_WEIGHTS.get(action, 0.0) if weight is None else weight


class Remembered(NamedTuple):
    """A user's interactions as a state holds them: the arrays of `UserState`, or the strings of `PackedState`."""

    n_interactions: int  # in all; the newest of them are kept in full
    keys: bytes | NDArray[np.uint64]
    times_ms: bytes | NDArray[np.int64]
    actions: bytes | NDArray[np.uint8]
    values: bytes | NDArray[np.float32]

    @property
    def n_kept(self) -> int:
        """How many are kept in full."""
        return len(self.actions)

    def steps(self, newest: int, settings: StateSettings) -> list[StepInput]:
        """The `newest` of those kept in full, oldest first; at most all of them."""
        if not newest:
            return []
        keys, times_ms = np.frombuffer(self.keys, np.uint64), np.frombuffer(self.times_ms, np.int64)
        first = len(keys) - newest
        gaps_ms = np.full(len(keys), UNKNOWN_GAP_MS, np.int64)
        np.maximum(np.diff(times_ms), 0, out=gaps_ms[1:])
        actions, values = np.frombuffer(self.actions, np.uint8), np.frombuffer(self.values, np.float32)
        columns = (keys[first:].tolist(), actions[first:].tolist(), gaps_ms[first:].tolist(), values[first:].tolist())
        return [
            StepInput(key, action, gap_ms, value, weight_of(ACTIONS[action], settings))
            for key, action, gap_ms, value in zip(*columns, strict=True)
        ]
