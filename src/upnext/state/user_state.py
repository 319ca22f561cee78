"""What is remembered of one user: recent interactions, seen items, vectors; how it is packed, not where it is kept."""

import struct
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upnext.clock import Deadline
from upnext.domain.identity import Keys
from upnext.errors import StoreError
from upnext.store.interface import Store, Values

# format, n_recent, n_seen, state_version, n_interactions, applied_sequence, last_ms, session, generation, n_moves
_HEADER = struct.Struct("<BxHIQQQqQQQ")
_FORMAT = 3
_RECENT_BYTES = 8 + 8 + 1 + 4  # of one interaction kept in full: key, time, action, value
_STATE = b"state/"
_ENCODERS = b"encoders"  # key of their names, with a space between
_VECTORS = struct.Struct("<BxHHxxQQ")  # format, session dims, user dims, state_version, n_interactions
_DAMAGED = (
    "a user's {record} of {n_bytes} bytes are not whole; delete HOME/state, and all of it is rebuilt from the log"
)
_NO_KEYS: Keys = np.empty(0, np.uint64)
_NO_FLOATS: npt.NDArray[np.float32] = np.empty(0, np.float32)


def state_key(subject: str) -> bytes:
    """Where the store keeps what is remembered of `subject`."""
    return _STATE + subject.encode()


def subject_of_key(key: bytes) -> str:
    """Whose state is kept under a key that `state_key` made; for another one the name of nobody."""
    return key.removeprefix(_STATE).decode(errors="replace")


def vectors_key(encoders: str, subject: str) -> bytes:
    """Where the store keeps the vectors that the encoders named `encoders` made of `subject`."""
    return b"vectors/" + encoders.encode() + b"/" + subject.encode()


def remember_encoders(store: Store, encoders: str, deadline: Deadline) -> None:
    """Notes that the store may hold vectors of the encoders of this name."""

    def change(_: int, values: Values) -> list[bytes | None]:
        names = (values[0] or b"").split()
        return [b" ".join(dict.fromkeys([*names, encoders.encode()]))]

    store.update([[_ENCODERS]], change, deadline)


def known_encoders(store: Store, deadline: Deadline) -> list[str]:
    """The names of all encoders of which the store may hold vectors."""
    return [name.decode() for name in (store.get_many([_ENCODERS], deadline)[0] or b"").split()]


@dataclass(slots=True)
class UserState:
    """Facts about one user, independent of any model; newest last in the recent arrays.

    `state_version` grows by one with every applied event. `applied_sequence` is the number in the log of the last one:
    an event up to it has been applied, whoever delivers it again; in one `generation` of the consumer, that is: see
    `Consumer.generation`. `n_moves` grows by one with every event that moves a session vector, interaction or
    hint: while it stays, what was worked out for the user holds. `seen` is sorted. Absent users have the empty state.
    """

    state_version: int = 0
    n_interactions: int = 0
    last_ms: int = 0
    session_key: int = 0
    recent_keys: Keys = field(default_factory=lambda: _NO_KEYS)  # (≤ 50,) uint64
    recent_ms: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    recent_actions: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    seen: Keys = field(default_factory=lambda: _NO_KEYS)  # (≤ 5,000,) uint64
    applied_sequence: int = 0
    generation: int = 0
    # (≤ 50,) what each measured, NaN for none
    recent_values: npt.NDArray[np.float32] = field(default_factory=lambda: _NO_FLOATS)
    n_moves: int = 0

    def pack(self) -> bytes:
        """Little-endian header, then the arrays end to end."""
        header = _HEADER.pack(
            _FORMAT, len(self.recent_keys), len(self.seen), self.state_version, self.n_interactions,
            self.applied_sequence, self.last_ms, self.session_key, self.generation, self.n_moves,
        )  # fmt: skip
        return b"".join(
            (
                header,
                self.recent_keys.tobytes(),
                self.recent_ms.tobytes(),
                self.recent_actions.tobytes(),
                self.recent_values.tobytes(),
                self.seen.tobytes(),
            )
        )

    @classmethod
    def unpack(cls, raw: bytes | None) -> "UserState":
        """The state packed in `raw`, its arrays read-only views of it; the empty state for None.

        Raises `StoreError` for bytes of another format or length.
        """
        if raw is None:
            return cls()
        n_recent, n_seen, version, n_interactions, applied, last_ms, session, generation, n_moves = _header(raw)
        at = _HEADER.size
        recent_keys = np.frombuffer(raw, np.uint64, n_recent, at)
        recent_ms = np.frombuffer(raw, np.int64, n_recent, at + 8 * n_recent)
        actions = np.frombuffer(raw, np.uint8, n_recent, at + 16 * n_recent)
        values = np.frombuffer(raw, np.float32, n_recent, at + 17 * n_recent)
        seen = np.frombuffer(raw, np.uint64, n_seen, at + _RECENT_BYTES * n_recent)
        return cls(
            version, n_interactions, last_ms, session, recent_keys, recent_ms, actions, seen, applied, generation,
            values, n_moves,
        )  # fmt: skip


@dataclass(slots=True)
class PackedState:
    """A `UserState` as bytes to be moved by events: what is 1 µs in an array is 0.1 µs in a string of bytes.

    The five strings are the arrays of `UserState`, little-endian.
    """

    state_version: int
    n_interactions: int
    applied_sequence: int
    last_ms: int
    session_key: int
    recent_keys: bytes
    recent_ms: bytes
    recent_actions: bytes
    recent_values: bytes
    seen: bytes
    generation: int = 0
    n_moves: int = 0

    @classmethod
    def unpack(cls, raw: bytes | None) -> "PackedState":
        """As `UserState.unpack`."""
        if raw is None:
            return cls(0, 0, 0, 0, 0, b"", b"", b"", b"", b"")
        n_recent, _, version, n_interactions, applied, last_ms, session, generation, n_moves = _header(raw)
        keys_end = _HEADER.size + 8 * n_recent
        ms_end, actions_end = keys_end + 8 * n_recent, keys_end + 9 * n_recent
        seen = _HEADER.size + _RECENT_BYTES * n_recent
        return cls(
            version, n_interactions, applied, last_ms, session,
            raw[_HEADER.size : keys_end], raw[keys_end:ms_end], raw[ms_end:actions_end], raw[actions_end:seen],
            raw[seen:], generation, n_moves,
        )  # fmt: skip

    def pack(self) -> bytes:
        """What `UserState.pack` would make of it."""
        header = _HEADER.pack(
            _FORMAT, len(self.recent_actions), len(self.seen) // 8, self.state_version, self.n_interactions,
            self.applied_sequence, self.last_ms, self.session_key, self.generation, self.n_moves,
        )  # fmt: skip
        return b"".join((header, self.recent_keys, self.recent_ms, self.recent_actions, self.recent_values, self.seen))


@dataclass(slots=True)
class UserVectors:
    """What one set of encoders made of a user, as of `state_version`; an empty vector means there is none.

    They may lag behind the state: by how many interactions, `n_interactions` tells.
    """

    state_version: int = 0
    session_vector: npt.NDArray[np.float32] = field(default_factory=lambda: _NO_FLOATS)  # (dim,)
    user_vector: npt.NDArray[np.float32] = field(default_factory=lambda: _NO_FLOATS)  # (dim,)
    hidden: npt.NDArray[np.float32] = field(default_factory=lambda: _NO_FLOATS)  # (state_size,)
    n_interactions: int = 0

    def pack(self) -> bytes:
        header = _VECTORS.pack(
            _FORMAT, len(self.session_vector), len(self.user_vector), self.state_version, self.n_interactions
        )
        return b"".join((header, self.session_vector.tobytes(), self.user_vector.tobytes(), self.hidden.tobytes()))

    @classmethod
    def unpack(cls, raw: bytes | None) -> "UserVectors | None":
        """The vectors packed in `raw`, read-only views of it; None for None.

        Raises `StoreError` for bytes of another format or length.
        """
        if raw is None:
            return None
        _check(raw, _VECTORS, "vectors")
        _, n_session, n_user, version, n_interactions = _VECTORS.unpack_from(raw)
        n_floats, left = divmod(len(raw) - _VECTORS.size, 4)
        split = n_session + n_user
        if left or n_floats < split:
            raise StoreError(_DAMAGED.format(record="vectors", n_bytes=len(raw)))
        floats = np.frombuffer(raw, np.float32, n_floats, _VECTORS.size)
        return cls(version, floats[:n_session], floats[n_session:split], floats[split:], n_interactions)


def _header(raw: bytes) -> tuple[int, int, int, int, int, int, int, int, int]:
    """The header of a packed state but for its format, which is checked like the length."""
    _check(raw, _HEADER, "facts")
    _, n_recent, n_seen, *rest = _HEADER.unpack_from(raw)
    if len(raw) != _HEADER.size + _RECENT_BYTES * n_recent + 8 * n_seen:
        raise StoreError(_DAMAGED.format(record="facts", n_bytes=len(raw)))
    return n_recent, n_seen, *rest


def _check(raw: bytes, header: struct.Struct, record: str) -> None:
    if len(raw) < header.size:
        raise StoreError(_DAMAGED.format(record=record, n_bytes=len(raw)))
    if raw[0] != _FORMAT:
        raise StoreError(
            f"a user's {record} have format {raw[0]}, this version reads {_FORMAT}; upgrade all workers, and where an "
            "older one wrote them delete HOME/state: all of it is rebuilt from the log"
        )
