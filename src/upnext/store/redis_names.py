"""Under which name and in which slot Redis keeps a key; sends nothing."""

import re
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import NamedTuple

from upnext.store.limits import tag_of

_HASH_BYTES = 8
_SPECIAL = re.compile(rb"[\\*?\[\]^-]")


class Placed(NamedTuple):
    """Where a key is kept."""

    slot: int
    name: bytes


class Names:
    """A key is kept as PREFIX{HASH}KEY: Redis Cluster places it by the HASH of its tag alone."""

    def __init__(self, prefix: str, slot_of: Callable[[bytes], int]) -> None:
        self._prefix = prefix.encode()
        self._slot_of = slot_of

    def place(self, keys: Iterable[bytes]) -> list[Placed]:
        """Slot and name of each key, in order."""
        known: dict[bytes, tuple[int, bytes]] = {}
        placed = []
        for key in keys:
            tag = tag_of(key)
            if tag not in known:
                hashed = blake2b(tag, digest_size=_HASH_BYTES).hexdigest().encode()
                known[tag] = (self._slot_of(hashed), b"%b{%b}" % (self._prefix, hashed))
            slot, start = known[tag]
            placed.append(Placed(slot, start + key))
        return placed

    def key_of(self, name: bytes) -> bytes:
        """The key kept under `name`."""
        return name[len(self._prefix) + 2 * _HASH_BYTES + 2 :]

    def start(self) -> bytes:
        """What the names of all keys start with, and those of another prefix do not, since a prefix has no brace."""
        return self._prefix + b"{"

    def keys_told(self, names: Iterable[bytes], family: bytes) -> list[bytes]:
        """The keys that start with `family`, each once, of some names; what others may keep there is left out."""
        at = len(self._prefix) + 2 * _HASH_BYTES + 1  # of the brace, after which the key begins
        told, end = b"}" + family, at + 1 + len(family)
        return list(dict.fromkeys(name[at + 1 :] for name in names if name[at:end] == told))

    def pattern(self, prefix: bytes) -> bytes:
        """What the names of all keys that start with `prefix` match, for Redis' SCAN."""
        return b"%b{%b}%b*" % (_literal(self._prefix), b"?" * (2 * _HASH_BYTES), _literal(prefix))


def _literal(text: bytes) -> bytes:
    return _SPECIAL.sub(rb"\\\g<0>", text)
