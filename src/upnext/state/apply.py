"""Everything between an accepted event and the stored state it moves; knows the store, not how events arrive."""

import contextlib
from collections.abc import Sequence

from upnext.clock import Deadline
from upnext.domain.event import Event
from upnext.domain.identity import subject_of
from upnext.errors import StoreError
from upnext.settings import StateSettings
from upnext.state.advance import SessionStepper, advanced_state, advanced_vectors
from upnext.state.user_state import UserState, UserVectors, state_key, vectors_key
from upnext.store.interface import Store, Values


def apply_events(
    events: Sequence[Event], store: Store, stepper: SessionStepper | None, settings: StateSettings, deadline: Deadline
) -> None:
    """Moves the state of every user by their `events`, in order; atomic per user. Without consent nothing is kept.

    Without a `stepper` (no release yet) the facts advance and vectors are made later from them.
    """
    by_subject: dict[str, list[Event]] = {}
    for event in events:
        subject = subject_of(event.user_id, event.session_id)
        if subject is not None and event.consent:
            by_subject.setdefault(subject, []).append(event)
    groups = [
        [state_key(subject), *([vectors_key(stepper.encoders, subject)] if stepper else [])] for subject in by_subject
    ]
    of_group = list(by_subject.values())

    def change(group: int, values: Values) -> list[bytes | None]:
        state = UserState.unpack(values[0])
        vectors = UserVectors.unpack(values[1]) if stepper else None
        for event in of_group[group]:
            before, state = state, advanced_state(state, event, settings)
            if stepper:
                vectors = advanced_vectors(vectors, before, state, stepper)
        return [state.pack(), *([vectors.pack()] if vectors else [])]

    store.update(groups, change, deadline)


def read_user(
    subject: str, store: Store, stepper: SessionStepper | None, deadline: Deadline
) -> tuple[UserState, UserVectors | None]:
    """State and vectors of one user in one read.

    Vectors that are absent or lag behind the state are made anew from the recent events, and put back if the store
    takes them in time and still holds what was read. Without a `stepper`, or for a user without state, None.
    """
    if stepper is None:
        return UserState.unpack(store.get_many([state_key(subject)], deadline)[0]), None
    keys = [state_key(subject), vectors_key(stepper.encoders, subject)]
    read = store.get_many(keys, deadline)
    state, vectors = UserState.unpack(read[0]), UserVectors.unpack(read[1])
    if read[0] is None or (vectors is not None and vectors.state_version == state.state_version):
        return state, vectors
    healed = advanced_vectors(vectors, UserState(state_version=-1), state, stepper)

    def put_back(_: int, now: Values) -> Values:
        return [now[0], healed.pack()] if now == read else now

    with contextlib.suppress(StoreError):  # the next read does it again
        store.update([keys], put_back, deadline)
    return state, healed
