"""Events move users' states by one step each; pure, so it may be run again when another writer was faster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTION_CODE, INTERACTIONS, Event
from upnext.domain.identity import key_of
from upnext.settings import StateSettings
from upnext.state.user_state import UserState, UserVectors

Floats = npt.NDArray[np.float32]
Array = TypeVar("Array", bound=npt.NDArray[Any])
_NO_FLOATS: Floats = np.empty(0, np.float32)


class SessionStepper(Protocol):
    """The session encoder, one event at a time. O(1) per event."""

    encoders: str  # names the weights; vectors made by others are not continued

    def step(self, hidden: Sequence[Floats], item_keys: Sequence[int]) -> list[tuple[Floats, Floats] | None]:
        """One step for each of n users at once: (new hidden state, session vector) after the item.

        None where the encoder does not know the item. `hidden` is empty for a user without history.
        """


def advanced_state(state: UserState, event: Event, settings: StateSettings) -> UserState:
    """The state after `event`: interactions are remembered, disliked items count as seen, the rest is mere activity."""
    session = key_of(event.session_id) if event.session_id else state.session_key
    last_ms = max(state.last_ms, event.timestamp_ms)
    if event.item_id is None or (event.action not in INTERACTIONS and event.action != "dislike"):
        return replace(state, state_version=state.state_version + 1, last_ms=last_ms, session_key=session)
    key = np.uint64(key_of(event.item_id))
    seen = _with_seen(state.seen, key, settings.seen_items)
    if event.action == "dislike":
        return replace(state, state_version=state.state_version + 1, last_ms=last_ms, session_key=session, seen=seen)
    keep = settings.recent_events
    return UserState(
        state.state_version + 1,
        state.n_interactions + 1,
        last_ms,
        session,
        _newest(state.recent_keys, key, keep),
        _newest(state.recent_ms, event.timestamp_ms, keep),
        _newest(state.recent_actions, ACTION_CODE[event.action], keep),
        seen,
    )


@dataclass(slots=True)
class DueSteps:
    """Vectors of one user as they are, and the items that they have still to step over, oldest first."""

    state_version: int  # that the vectors will belong to
    user_vector: Floats
    hidden: Floats
    session_vector: Floats
    item_keys: list[int]


def due_steps(vectors: UserVectors | None, before: UserState, after: UserState, new_keys: Sequence[int]) -> DueSteps:
    """What leads to the vectors of `after`: `new_keys` where they belong to `before`, else its recent events first.

    `new_keys`: items chosen between the two states. The user vector is made in batch and only carried along.
    """
    user_vector = vectors.user_vector if vectors else _NO_FLOATS
    if vectors and vectors.state_version == before.state_version and len(vectors.hidden):
        return DueSteps(after.state_version, user_vector, vectors.hidden, vectors.session_vector, list(new_keys))
    anew = [*before.recent_keys.tolist(), *new_keys]
    return DueSteps(after.state_version, user_vector, _NO_FLOATS, _NO_FLOATS, anew)


def stepped(due: Sequence[DueSteps], stepper: SessionStepper) -> list[UserVectors]:
    """The vectors of many users after all steps that they are due: the first of each at once, then the second, …"""
    place = 0
    while going := [each for each in due if len(each.item_keys) > place]:
        steps = stepper.step([each.hidden for each in going], [each.item_keys[place] for each in going])
        for each, step in zip(going, steps, strict=True):
            if step is not None:
                each.hidden, each.session_vector = step
        place += 1
    return [UserVectors(each.state_version, each.session_vector, each.user_vector, each.hidden) for each in due]


def _newest(values: Array, value: object, most: int) -> Array:
    """The last `most` of `values` and then `value`."""
    newest = np.empty(min(len(values) + 1, most), values.dtype)
    newest[:-1] = values[len(values) + 1 - len(newest) :]
    newest[-1] = value
    return newest  # type: ignore[return-value]


def _with_seen(seen: npt.NDArray[np.uint64], key: np.uint64, most: int) -> npt.NDArray[np.uint64]:
    """`seen` with `key`, still sorted; past `most` its neighbour makes way, an arbitrary one since keys are hashes."""
    at = int(seen.searchsorted(key))
    if at < len(seen) and seen[at] == key:
        return seen
    if len(seen) >= most:
        grown = seen.copy()
        grown[min(at, len(seen) - 1)] = key
        return grown
    grown = np.empty(len(seen) + 1, np.uint64)
    grown[:at], grown[at], grown[at + 1 :] = seen[:at], key, seen[at:]
    return grown
