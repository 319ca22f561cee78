"""Events move users' states by one step each; pure, so it may be run again when another writer was faster."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTION_CODE, INTERACTIONS, Event
from upnext.domain.identity import key_of
from upnext.settings import StateSettings
from upnext.state.user_state import PackedState, UserVectors

Floats = npt.NDArray[np.float32]
_ACTION_BYTE = {action: bytes([code]) for action, code in ACTION_CODE.items()}
_NO_FLOATS: Floats = np.empty(0, np.float32)


class SessionStepper(Protocol):
    """The session encoder, one event at a time. O(1) per event."""

    encoders: str  # names the weights; vectors made by others are not continued

    def step(self, hidden: Sequence[Floats], item_keys: Sequence[int]) -> list[tuple[Floats, Floats] | None]:
        """One step for each of n users at once: (new hidden state, session vector) after the item.

        None where the encoder does not know the item. `hidden` is empty for a user without history.
        """


def advance(state: PackedState, event: Event, settings: StateSettings) -> int | None:
    """Moves `state` by `event`; the key of the item that it chose, None for an event that chooses none.

    Interactions are remembered, disliked items count as seen, the rest is mere activity.
    """
    state.state_version += 1
    if event.timestamp_ms > state.last_ms:
        state.last_ms = event.timestamp_ms
    if event.session_id:
        state.session_key = key_of(event.session_id)
    chosen = event.action in INTERACTIONS
    if event.item_id is None or not (chosen or event.action == "dislike"):
        return None
    key = key_of(event.item_id)
    key_bytes = key.to_bytes(8, "little")
    state.seen = _with_seen(state.seen, key, key_bytes, settings.seen_items)
    if not chosen:
        return None
    keep = settings.recent_events
    state.n_interactions += 1
    state.recent_keys = (state.recent_keys + key_bytes)[-8 * keep :]
    state.recent_ms = (state.recent_ms + event.timestamp_ms.to_bytes(8, "little", signed=True))[-8 * keep :]
    state.recent_actions = (state.recent_actions + _ACTION_BYTE[event.action])[-keep:]
    return key


@dataclass(slots=True)
class DueSteps:
    """Vectors of one user as they are, and the items that they have still to step over, oldest first."""

    state_version: int  # that the vectors will belong to
    n_interactions: int
    user_vector: Floats
    hidden: Floats
    session_vector: Floats
    item_keys: Sequence[int]


def due_steps(
    vectors: UserVectors | None, state_version: int, n_interactions: int, item_keys: Sequence[int]
) -> DueSteps:
    """What leads from `vectors` to those of a state: the interactions they lack, and only those, where that can be.

    `item_keys`: what the user chose, newest last, as far back as it is known. Where `vectors` are absent, or lack
    more than that, they are made anew from all of it. The user vector is made in batch and only carried along.
    """
    user_vector = vectors.user_vector if vectors else _NO_FLOATS
    if vectors and len(vectors.hidden) and vectors.state_version <= state_version:
        lacking = n_interactions - vectors.n_interactions
        if 0 <= lacking <= len(item_keys):
            keys = item_keys[len(item_keys) - lacking :]
            return DueSteps(state_version, n_interactions, user_vector, vectors.hidden, vectors.session_vector, keys)
    return DueSteps(state_version, n_interactions, user_vector, _NO_FLOATS, _NO_FLOATS, item_keys)


def stepped(due: Sequence[DueSteps], stepper: SessionStepper) -> list[UserVectors]:
    """The vectors of many users after all steps that they are due: the first of each at once, then the second, …"""
    place = 0
    while going := [each for each in due if len(each.item_keys) > place]:
        steps = stepper.step([each.hidden for each in going], [each.item_keys[place] for each in going])
        for each, step in zip(going, steps, strict=True):
            if step is not None:
                each.hidden, each.session_vector = step
        place += 1
    return [
        UserVectors(each.state_version, each.session_vector, each.user_vector, each.hidden, each.n_interactions)
        for each in due
    ]


def _with_seen(seen: bytes, key: int, key_bytes: bytes, most: int) -> bytes:
    """`seen` with `key`, still sorted; past `most` its neighbour makes way, an arbitrary one since keys are hashes."""
    n_seen = len(seen) // 8
    at = 8 * int(np.frombuffer(seen, np.uint64).searchsorted(np.uint64(key))) if n_seen else 0
    if seen[at : at + 8] == key_bytes:
        return seen
    if n_seen >= most:
        at = min(at, 8 * (n_seen - 1))
        return seen[:at] + key_bytes + seen[at + 8 :]
    return seen[:at] + key_bytes + seen[at:]
