"""Everything between an accepted event and the stored state it moves; knows the store, not how events arrive."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from upnext.clock import Deadline
from upnext.domain.event import Event
from upnext.domain.identity import subject_of
from upnext.errors import StoreError
from upnext.settings import StateSettings
from upnext.state.advance import SessionStepper, advance, due_steps, stepped
from upnext.state.guarded_stepper import NoStep
from upnext.state.step_input import Remembered, StepInput
from upnext.state.user_state import PackedState, UserState, UserVectors, state_key, vectors_key
from upnext.store.interface import Store, Values

Numbered = tuple[int, Event]  # an event and its number in the log
_log = logging.getLogger(__name__)
_DEFAULTS = StateSettings()


class _Move(NamedTuple):
    """One user's way from the state that was read to the state after their events."""

    subject: str
    keys: list[bytes]
    read: Values
    after: bytes  # the packed state
    vectors_due: tuple[UserVectors | None, int, int, Remembered, list[StepInput], StateSettings]  # for `due_steps`
    anew: bool  # the state began anew, so that vectors made before are not to be continued


def apply_events(
    events: Sequence[Numbered],
    store: Store,
    stepper: SessionStepper | None,
    settings: StateSettings,
    deadline: Deadline,
    generation: int = 0,
) -> None:
    """Moves the state of every user by their `events`, in the order of the log; atomic per user.

    An event that a state has applied already is passed over, so events may be delivered again: but each user's in
    order, none left out. A state of another `generation` lacks events that a store has lost, and begins anew, as its
    events are delivered from the first. Without consent nothing is kept. Without a `stepper`, and while it
    raises `NoStep`, the facts advance and vectors lag behind until they are next read. A user whose record cannot be
    read is left as they are, and logged: one damaged record must not hold up everybody. Raises what the store raises;
    then some users may have moved and others not.
    """
    pending: dict[str, list[Numbered]] = {}
    for numbered in events:
        event = numbered[1]
        subject = subject_of(event.user_id, event.session_id)
        if subject is not None and event.consent:
            pending.setdefault(subject, []).append(numbered)
    while pending:
        pending = _apply_once(pending, store, stepper, settings, deadline, generation)


def _apply_once(
    pending: dict[str, list[Numbered]],
    store: Store,
    stepper: SessionStepper | None,
    settings: StateSettings,
    deadline: Deadline,
    generation: int,
) -> dict[str, list[Numbered]]:
    """One read, one computation for all, one write; those whose state another writer moved meanwhile are returned."""
    subjects = list(pending)
    groups = [_keys(subject, stepper) for subject in subjects]
    width = len(groups[0])
    read = store.get_many([key for keys in groups for key in keys], deadline)
    moves = []
    for at, subject in enumerate(subjects):
        values = read[at * width : (at + 1) * width]
        try:
            moves.append(_move(subject, groups[at], values, pending[subject], settings, generation))
        except StoreError:
            _log.exception("%d events of %s are not applied", len(pending[subject]), subject)
    packed: list[list[bytes | None]] = _stepped_all(moves, stepper) if stepper else [[]] * len(moves)
    after = [[move.after, *rest] for move, rest in zip(moves, packed, strict=True)]
    keys = [move.keys[: len(values)] for move, values in zip(moves, after, strict=True)]
    expected = [move.read[: len(values)] for move, values in zip(moves, after, strict=True)]
    swapped = store.swap_many(keys, expected, after, deadline)
    return {move.subject: pending[move.subject] for move, done in zip(moves, swapped, strict=True) if not done}


def _stepped_all(moves: Sequence[_Move], stepper: SessionStepper) -> list[list[bytes | None]]:
    """What goes under each user's second key, their vectors: nothing, so that they lag, while there is no step."""
    try:
        return [[each.pack()] for each in stepped([due_steps(*move.vectors_due) for move in moves], stepper)]
    except NoStep:
        return [[None] if move.anew else [] for move in moves]


class Healed(NamedTuple):
    """Vectors of one user that lagged behind and were brought up to date when they were read."""

    keys: list[bytes]
    read: Values
    vectors: UserVectors


def read_user(
    subject: str,
    store: Store,
    stepper: SessionStepper | None,
    deadline: Deadline,
    healed: Callable[[Healed], None] = lambda healed: None,
    settings: StateSettings = _DEFAULTS,
) -> tuple[UserState, UserVectors | None]:
    """State and vectors of one user in one read.

    Vectors that lag behind the state step over the interactions they lack; absent ones are made from the recent ones.
    Hints that came meanwhile are lost to them. `settings`: what every step weighs, as of `apply_events`. `healed`
    hears of them, to put them back when nobody waits. While the `stepper` raises `NoStep`, vectors are as they are:
    their `state_version` tells that they lag, and where there are none they are empty ones. None without a `stepper`,
    and for a user without state.
    """
    keys = _keys(subject, stepper)
    read = store.get_many(keys, deadline)
    state = UserState.unpack(read[0])
    if stepper is None:
        return state, None
    vectors = UserVectors.unpack(read[1])
    if read[0] is None or (vectors is not None and vectors.state_version == state.state_version):
        return state, vectors
    due = due_steps(vectors, state.state_version, state.n_interactions, _remembered(state), [], settings)
    try:
        vectors = stepped([due], stepper)[0]
    except NoStep:
        return state, vectors or UserVectors()
    healed(Healed(keys, read, vectors))
    return state, vectors


def put_back(healed: Sequence[Healed], store: Store, deadline: Deadline) -> None:
    """Stores healed vectors of users who have not moved since they were read. Raises what the store raises."""
    values = [[each.read[0], each.vectors.pack()] for each in healed]
    store.swap_many([each.keys for each in healed], [each.read for each in healed], values, deadline)


def _remembered(state: UserState | PackedState) -> Remembered:
    recent = (state.recent_keys, state.recent_ms, state.recent_actions, state.recent_values)
    return Remembered(state.n_interactions, *recent)


def _keys(subject: str, stepper: SessionStepper | None) -> list[bytes]:
    if stepper is None:
        return [state_key(subject)]
    return [state_key(subject), vectors_key(stepper.encoders, subject)]


def _move(
    subject: str, keys: list[bytes], read: Values, numbered: list[Numbered], settings: StateSettings, generation: int
) -> _Move:
    """The state after those events that it has not seen. Raises `StoreError` for a record that cannot be read."""
    state = PackedState.unpack(read[0])
    vectors = UserVectors.unpack(read[1]) if len(read) > 1 else None
    anew = state.generation != generation
    if anew:
        state, vectors = PackedState.unpack(None), None
        state.generation = generation
    before = _remembered(state)
    steps: list[StepInput] = []
    for sequence, event in numbered:
        if sequence > state.applied_sequence:
            step = advance(state, event, settings)
            state.applied_sequence = sequence
            if step is not None:
                steps.append(step)
    due = (vectors, state.state_version, state.n_interactions, before, steps, settings)
    return _Move(subject, keys, read, state.pack(), due, anew)
