"""One event moves one user's state by one step; pure, so a store may run it again when another writer was faster."""

from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTION_CODE, INTERACTIONS, Event
from upnext.domain.identity import key_of
from upnext.settings import StateSettings
from upnext.state.user_state import UserState, UserVectors

Floats = npt.NDArray[np.float32]
Array = TypeVar("Array", bound=npt.NDArray[Any])


class SessionStepper(Protocol):
    """The session encoder, one event at a time. O(1) per event."""

    encoders: str  # names the weights; vectors made by others are not continued

    def step(self, hidden: Floats, item_key: int) -> tuple[Floats, Floats] | None:
        """(new hidden state, session vector) after the item, or None where the encoder does not know the item.

        `hidden` is empty for a user without history.
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


def advanced_vectors(
    vectors: UserVectors | None, before: UserState, after: UserState, stepper: SessionStepper
) -> UserVectors:
    """The vectors that belong to `after`: one step where they are up to date, else the recent events once more.

    The user vector is made in batch and only carried along.
    """
    user_vector = vectors.user_vector if vectors else np.empty(0, np.float32)
    if vectors and vectors.state_version == before.state_version and len(vectors.hidden):
        hidden, session_vector = vectors.hidden, vectors.session_vector
        new_keys = after.recent_keys[-1:] if after.n_interactions > before.n_interactions else after.recent_keys[:0]
    else:
        hidden, session_vector = np.empty(0, np.float32), np.empty(0, np.float32)
        new_keys = after.recent_keys
    for key in new_keys.tolist():
        stepped = stepper.step(hidden, key)
        if stepped is not None:
            hidden, session_vector = stepped
    return UserVectors(after.state_version, session_vector, user_vector, hidden)


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
