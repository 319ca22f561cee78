"""What is remembered of one user, packed and read again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnext.errors import StoreError
from upnext.state.user_state import PackedState, UserState, UserVectors, state_key, vectors_key

KEYS = st.integers(0, 2**64 - 1)


@st.composite
def states(draw: st.DrawFn) -> UserState:
    one = st.tuples(KEYS, st.integers(-(2**63), 2**63 - 1), st.integers(0, 255), st.floats(width=32, allow_nan=False))
    recent = draw(st.lists(one, max_size=60))
    keys, times_ms, actions, values = zip(*recent, strict=True) if recent else ((), (), (), ())
    return UserState(
        draw(KEYS), draw(KEYS), draw(st.integers(-(2**63), 2**63 - 1)), draw(KEYS),
        np.array(keys, np.uint64), np.array(times_ms, np.int64), np.array(actions, np.uint8),
        np.array(sorted(draw(st.sets(KEYS, max_size=60))), np.uint64), draw(KEYS), draw(KEYS),
        np.array(values, np.float32), draw(KEYS),
    )  # fmt: skip


def as_lists(record: UserState | UserVectors) -> dict[str, object]:
    values = {name: getattr(record, name) for name in record.__slots__}
    return {n: (v.dtype, v.tolist()) if isinstance(v, np.ndarray) else v for n, v in values.items()}


FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=80).map(lambda values: np.array(values, np.float32))


@given(states())
def test_a_state_is_read_as_it_was_packed(state: UserState) -> None:
    assert as_lists(UserState.unpack(state.pack())) == as_lists(state)


@given(states())
def test_a_state_as_bytes_is_the_same_state(state: UserState) -> None:
    packed = PackedState.unpack(state.pack())
    assert packed.pack() == state.pack()
    assert (packed.state_version, packed.applied_sequence) == (state.state_version, state.applied_sequence)
    for name in ("recent_keys", "recent_ms", "recent_actions", "recent_values", "seen"):
        assert getattr(packed, name) == getattr(state, name).tobytes()


@given(KEYS, FLOATS, FLOATS, FLOATS)
def test_vectors_are_read_as_they_were_packed(
    version: int, session: np.ndarray, user: np.ndarray, hidden: np.ndarray
) -> None:
    vectors = UserVectors(version, session, user, hidden)
    unpacked = UserVectors.unpack(vectors.pack())
    assert unpacked is not None
    assert as_lists(unpacked) == as_lists(vectors)


def test_of_an_absent_user_nothing_is_remembered() -> None:
    assert as_lists(UserState.unpack(None)) == as_lists(UserState())
    assert UserVectors.unpack(None) is None


def test_the_packed_form_is_the_one_that_stores_hold() -> None:
    state = UserState(
        3, 2, 1_700_000_000_000, 9, np.array([4, 5], np.uint64), np.array([6, 7], np.int64), np.array([1, 0], np.uint8),
        np.array([4], np.uint64), 11, 12, np.array([1.0, np.nan], np.float32), 13,
    )  # fmt: skip
    expected = bytes.fromhex("0300020001000000") + b"".join(
        n.to_bytes(8, "little") for n in (3, 2, 11, 1_700_000_000_000, 9, 12, 13, 4, 5, 6, 7)
    )
    assert state.pack() == expected + bytes.fromhex("0100 0000803f 0000c07f") + (4).to_bytes(8, "little")


@pytest.mark.parametrize("record", [UserState(), UserVectors()])
def test_bytes_of_another_format_are_refused(record: UserState | UserVectors) -> None:
    raw = bytearray(record.pack())
    raw[0] = 7
    with pytest.raises(
        StoreError, match=r"format 7, this version reads 3; upgrade all workers, and .* delete HOME/state"
    ):
        type(record).unpack(bytes(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        UserState(recent_keys=np.ones(1, np.uint64)).pack(),
        UserState().pack()[:-1],
        UserState().pack() + b"x",
    ],
)
def test_a_state_that_is_not_whole_is_refused(raw: bytes) -> None:
    with pytest.raises(StoreError, match="not whole"):
        UserState.unpack(raw)
    with pytest.raises(StoreError, match="not whole"):
        PackedState.unpack(raw)


@pytest.mark.parametrize("cut", [1, 4, 25])
def test_vectors_that_are_not_whole_are_refused(cut: int) -> None:
    raw = UserVectors(1, np.ones(2, np.float32), np.ones(1, np.float32)).pack()
    with pytest.raises(StoreError, match="not whole"):
        UserVectors.unpack(raw[:-cut])


def test_keys_tell_users_and_encoders_apart() -> None:
    keys = {state_key("u:1"), state_key("s:1"), vectors_key("a", "u:1"), vectors_key("b", "u:1")}
    assert len(keys) == 4
    assert state_key("u:1") == b"state/u:1"
    assert vectors_key("a", "u:ü") == "vectors/a/u:ü".encode()
