"""Identities as 64-bit keys: the same string has the same key on every machine and in every release."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]


@lru_cache(1 << 16)  # an id is asked for several times within moments: by log, state and crowd
def key_of(identity: str) -> int:
    """64-bit key of a non-empty id: BLAKE2b of its UTF-8 bytes, read little-endian."""
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "little")


def keys_of(identities: Iterable[str]) -> Keys:
    """Keys of many ids, (n,) uint64, in their order."""
    return np.fromiter((key_of(identity) for identity in identities), dtype=np.uint64)


def subject_of(user_id: str | None, session_id: str | None) -> str | None:
    """Whose state an event or request concerns: the user where known, else the session; None for neither."""
    if user_id:
        return f"u:{user_id}"
    return f"s:{session_id}" if session_id else None


def context_keys(names: Iterable[str], context: Mapping[str, Any]) -> tuple[int, ...]:
    """A key for the value of each of `names` in an event's or request's context, 0 where it tells none.

    Numbers and words count by how they are written. What is neither tells nothing.
    """
    return tuple(_context_key(name, context.get(name)) for name in names)


def _context_key(name: str, value: Any) -> int:
    return _known_context_key(name, value) if isinstance(value, str | int | float) and value != "" else 0


@lru_cache(1 << 12, typed=True)  # few values, written out for every event; 1, 1.0 and True are not written alike
def _known_context_key(name: str, value: str | float) -> int:
    return key_of(f"{name}={value}")
