"""Events move users' states by one step each; pure, so it may be run again when another writer was faster."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from upnext.domain.event import ACTION_CODE, INTERACTIONS, Event
from upnext.domain.identity import key_of
from upnext.settings import StateSettings
from upnext.state.step_input import UNKNOWN_GAP_MS, UNKNOWN_VALUE, Remembered, StepInput, weight_of
from upnext.state.user_state import PackedState, UserVectors

Floats = npt.NDArray[np.float32]
_ACTION_BYTE = {action: bytes([code]) for action, code in ACTION_CODE.items()}
_FLOAT = struct.Struct("<f")
_NO_VALUE = _FLOAT.pack(UNKNOWN_VALUE)
_NO_FLOATS: Floats = np.empty(0, np.float32)


class SessionStepper(Protocol):
    """The session encoder, one event at a time. O(1) per event."""

    encoders: str  # names the weights; vectors made by others are not continued

    def step(self, hidden: Sequence[Floats], inputs: Sequence[StepInput]) -> list[tuple[Floats, Floats] | None]:
        """One whole step for each of n users at once: (new hidden state, session vector) after the event.

        None where the encoder does not know the item, or no word of the search. `hidden` is empty for a user without
        history. How much of a step is taken, `weight`, is none of the encoder's business.
        """


def advance(state: PackedState, event: Event, settings: StateSettings) -> StepInput | None:
    """Moves `state` by `event`; the step that a session vector is to take, None for an event that moves none.

    Interactions are remembered. Hints (`HINTS`) are steps, too, but not remembered: disliked items count as seen, and
    that is all. The rest is mere activity.
    """
    state.state_version += 1
    if event.timestamp_ms > state.last_ms:
        state.last_ms = event.timestamp_ms
    if event.session_id:
        state.session_key = key_of(event.session_id)
    weight = weight_of(event.action, settings)
    if event.action in INTERACTIONS:
        return None if event.item_id is None else _chosen(state, event, event.item_id, weight, settings)
    key = 0 if event.item_id is None else key_of(event.item_id)
    if event.action == "dislike" and event.item_id is not None:
        state.seen = _with_seen(state.seen, key, key.to_bytes(8, "little"), settings.seen_items)
    if not weight:
        return None
    state.n_moves += 1
    query = event.query or "" if event.action == "search" else ""
    if event.item_id is None and not query:
        return None
    (value,) = _FLOAT.unpack(_value_bytes(event.value))
    return StepInput(key, ACTION_CODE[event.action], _gap_ms(state, event), value, weight, query)


def _chosen(state: PackedState, event: Event, item_id: str, weight: float, settings: StateSettings) -> StepInput:
    key, gap_ms, value_bytes = key_of(item_id), _gap_ms(state, event), _value_bytes(event.value)
    key_bytes, keep = key.to_bytes(8, "little"), settings.recent_events
    state.seen = _with_seen(state.seen, key, key_bytes, settings.seen_items)
    state.n_interactions += 1
    state.n_moves += 1
    state.recent_keys = (state.recent_keys + key_bytes)[-8 * keep :]
    state.recent_ms = (state.recent_ms + event.timestamp_ms.to_bytes(8, "little", signed=True))[-8 * keep :]
    state.recent_actions = (state.recent_actions + _ACTION_BYTE[event.action])[-keep:]
    state.recent_values = (state.recent_values + value_bytes)[-4 * keep :]
    (value,) = _FLOAT.unpack(value_bytes)  # as it will be read when vectors are made anew
    return StepInput(key, ACTION_CODE[event.action], gap_ms, value, weight)


def _gap_ms(state: PackedState, event: Event) -> int:
    """Since the interaction before; 0 for an event that comes late."""
    if not state.recent_ms:
        return UNKNOWN_GAP_MS
    return max(event.timestamp_ms - int.from_bytes(state.recent_ms[-8:], "little", signed=True), 0)


def _value_bytes(value: float | None) -> bytes:
    if value is None:
        return _NO_VALUE
    try:
        return _FLOAT.pack(value)
    except OverflowError:  # beyond what 32 bits hold
        return _FLOAT.pack(float("inf") if value > 0 else float("-inf"))


@dataclass(slots=True)
class DueSteps:
    """Vectors of one user as they are, and the steps that they have still to take, oldest first."""

    state_version: int  # that the vectors will belong to
    n_interactions: int
    user_vector: Floats
    hidden: Floats
    session_vector: Floats
    inputs: Sequence[StepInput]


def due_steps(
    vectors: UserVectors | None,
    state_version: int,
    n_interactions: int,
    before: Remembered,
    new: Sequence[StepInput],
    settings: StateSettings,
) -> DueSteps:
    """What leads from `vectors` to those of a state: the interactions they lack, and only those, where that can be.

    `before`: the interactions up to the `new` steps, which lead to the state. Where `vectors` are absent, or lack more
    than is kept of them, they are made anew from all of it. Hints are steps while they are new; vectors that lagged
    then never make up for them. The user vector is made in batch and only carried along.
    """
    user_vector = vectors.user_vector if vectors else _NO_FLOATS
    if vectors and len(vectors.hidden) and vectors.state_version <= state_version:
        lacking = before.n_interactions - vectors.n_interactions
        if 0 <= lacking <= before.n_kept:
            inputs = [*before.steps(lacking, settings), *new] if lacking else new
            return DueSteps(state_version, n_interactions, user_vector, vectors.hidden, vectors.session_vector, inputs)
    inputs = [*before.steps(before.n_kept, settings), *new]
    return DueSteps(state_version, n_interactions, user_vector, _NO_FLOATS, _NO_FLOATS, inputs)


def stepped(due: Sequence[DueSteps], stepper: SessionStepper) -> list[UserVectors]:
    """The vectors of many users after all steps that they are due: the first of each at once, then the second, …"""
    place = 0
    while going := [each for each in due if len(each.inputs) > place]:
        inputs = [each.inputs[place] for each in going]
        steps = stepper.step([each.hidden for each in going], inputs)
        for each, one, step in zip(going, inputs, steps, strict=True):
            if step is not None:
                each.hidden, each.session_vector = part_of_step(each.hidden, each.session_vector, step, one.weight)
        place += 1
    return [
        UserVectors(each.state_version, each.session_vector, each.user_vector, each.hidden, each.n_interactions)
        for each in due
    ]


def part_of_step(
    hidden: Floats, session_vector: Floats, step: tuple[Floats, Floats], weight: float
) -> tuple[Floats, Floats]:
    """Hidden state and session vector after so much of a step: before + weight × (after the whole step − before).

    One rule for all: 1 is the step itself, 0.25 a quarter of the way there, and below 0 it leads away from where
    choosing the item would have led, so that whatever choosing it would have raised is lowered. A part of the way
    between two states that the encoder knows is a state like them. Away from them it need not be: what leads away is
    therefore scaled back to the longer of the two, so that no row of dislikes, however long, makes a vector grow
    without end. A user without history (both empty) begins at zero.
    """
    if weight == 1.0:
        return step
    return _part(hidden, step[0], weight), _part(session_vector, step[1], weight)


def _part(before: Floats, after: Floats, weight: float) -> Floats:
    if not len(before):
        before = np.zeros_like(after)
    moved: Floats = before + np.float32(weight) * (after - before)
    if weight < 0:
        length, most = np.linalg.norm(moved), max(np.linalg.norm(before), np.linalg.norm(after))
        if length > most:
            moved *= np.float32(most / length)
    return moved


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
