"""Step five: what the log says of every user, put into the store, with the vectors of a new release."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.encoders import histories_of
from upnext.cli.pipeline.world import World
from upnext.clock import Deadline, SystemClock
from upnext.domain.event import ACTION_CODE, HINTS, INTERACTIONS
from upnext.errors import StoreError
from upnext.models.session_encoder import SessionEncoder
from upnext.models.two_tower import TwoTower
from upnext.settings import StateSettings
from upnext.state.step_input import weight_of
from upnext.state.user_state import UserState, UserVectors, remember_encoders, state_key, vectors_key
from upnext.store.interface import Store, Values
from upnext.training.splits import Mask, interactions

_USERS_AT_ONCE = 2_000
Index = npt.NDArray[np.int64]


def backfill(
    world: World,
    store: Store,
    encoders: str,
    session: SessionEncoder,
    two_tower: TwoTower,
    settings: StateSettings,
    generation: int,
    progress: Callable[[int, int, str], None],
    only: npt.NDArray[np.int32] | None = None,
) -> int:
    """State and vectors of every user of the world; how many users. `generation`: that of the session consumer.

    `only`: users whose state or vectors are not what the store has; None for all.

    A state that the store holds already and that has applied an event after the world's last stays, with its vectors
    made anew when they are next needed: an event that came meanwhile is never undone. Session vectors are those of the
    interactions alone, without the hints among them. Where the settings let some interactions be less than a whole step
    there are none, and they are made of the recent interactions when they are first read.
    """
    deadline = Deadline.never(SystemClock())
    chosen = interactions(world.columns)
    remember_encoders(store, encoders, deadline)
    histories = histories_of(world, chosen)
    states = _States(world, chosen, settings, generation)
    whole = all(weight_of(action, settings) == 1.0 for action in INTERACTIONS)
    nothing = np.empty((_USERS_AT_ONCE, 0), np.float32)
    everybody = np.arange(world.n_users, dtype=np.int32) if only is None else only
    # Like lengths together: the few long histories would else pad those of all who share a batch with them.
    everybody = everybody[np.argsort(histories.lengths[everybody], kind="stable")]
    for begin in range(0, len(everybody), _USERS_AT_ONCE):
        users = everybody[begin : begin + _USERS_AT_ONCE]
        some = histories.take(users)
        session_vectors, hidden = session.encode(some) if whole else (nothing, nothing)
        user_vectors = two_tower.user_vectors(some, users)
        subjects = [world.columns.users[user] for user in users]
        groups = [[state_key(subject), vectors_key(encoders, subject)] for subject in subjects]
        made = [
            (
                state := states.of(int(user)),
                UserVectors(
                    state.state_version if whole else 0,
                    session_vectors[at],
                    user_vectors[at],
                    hidden[at],
                    state.n_interactions,
                ),
            )
            for at, user in enumerate(users)
        ]

        def change(group: int, values: Values, made: list[tuple[UserState, UserVectors]] = made) -> list[bytes | None]:
            state, vectors = made[group]
            if _applied_sequence(values[0], generation) > state.applied_sequence:
                return [values[0], vectors.pack()]
            return [state.pack(), vectors.pack()]

        store.update(groups, change, deadline)
        progress(begin + len(users), len(everybody), "users")
    return len(everybody)


def _applied_sequence(raw: bytes | None, generation: int) -> int:
    """Of a stored state; 0 for one that is absent, of another generation, or not readable, and is made anew."""
    try:
        state = UserState.unpack(raw)
    except StoreError:
        return 0
    return state.applied_sequence if state.generation == generation else 0


class _States:
    """The state of each user after all events of a world, as `advance` would have left it."""

    def __init__(self, world: World, chosen: Mask, settings: StateSettings, generation: int) -> None:
        self._columns = world.columns
        self._keys = world.catalog.keys
        self._log_sequence = world.log_sequence
        self._settings = settings
        self._generation = generation
        self._chosen = _Grouped(world.columns.user, chosen, world.n_users)
        self._all = _Grouped(world.columns.user, np.ones(len(chosen), np.bool_), world.n_users)
        disliked = (world.columns.action == ACTION_CODE["dislike"]) & (world.columns.item >= 0)
        self._seen = _Grouped(world.columns.user, chosen | disliked, world.n_users)
        hints = [ACTION_CODE[action] for action in HINTS if weight_of(action, settings)]
        moves = world.columns.user[chosen | np.isin(world.columns.action, hints)]
        self._n_moves = np.bincount(moves, minlength=world.n_users)

    def of(self, user: int) -> UserState:
        columns, events, every = self._columns, self._chosen.of(user), self._all.of(user)
        recent = events[-self._settings.recent_events :]
        sessions = columns.session[every]
        named = sessions[sessions != 0]
        return UserState(
            state_version=len(every),
            n_interactions=len(events),
            last_ms=int(columns.timestamp_ms[every].max()) if len(every) else 0,
            session_key=int(named[-1]) if len(named) else 0,
            recent_keys=self._keys[columns.item[recent]],
            recent_ms=columns.timestamp_ms[recent],
            recent_actions=columns.action[recent],
            seen=np.unique(self._keys[columns.item[self._seen.of(user)]][-self._settings.seen_items :]),
            applied_sequence=self._log_sequence,
            generation=self._generation,
            recent_values=columns.value[recent],
            n_moves=int(self._n_moves[user]),
        )


class _Grouped:
    """Events of a mask by user, each user's in order."""

    def __init__(self, users: npt.NDArray[np.int32], mask: Mask, n_users: int) -> None:
        events = np.flatnonzero(mask)
        self._order = events[np.argsort(users[events], kind="stable")]
        self._offsets = np.zeros(n_users + 1, np.int64)
        np.cumsum(np.bincount(users[events], minlength=n_users), out=self._offsets[1:])

    def of(self, user: int) -> Index:
        return self._order[self._offsets[user] : self._offsets[user + 1]]
