"""Which numbers of a log are of which subject, as keys of an LMDB database; knows nothing of the events themselves.

Entries are kept by blocks of 4,096 consecutive numbers and only within a block by subject. An append then changes a
few dozen pages, all of the newest block, where one big index would have it change a page per event; in return a
search looks once into every block, some 1,200 times for five million events, a microsecond each.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from upnext.domain.event import Event
from upnext.domain.identity import key_of, subject_of

_BLOCK_BITS = 12
_IN_BLOCK = (1 << _BLOCK_BITS) - 1
_ENTRY = struct.Struct(">I8sH")  # block, key of the subject, number within the block
_PREFIX = struct.Struct(">I8s")


def subject_of_event(event: Event) -> str | None:
    """Whose event it is; None for nobody's."""
    return subject_of(event.user_id, event.session_id)


def subject_keys(events: Iterable[Event]) -> list[bytes | None]:
    """The key of each event's subject, 8 bytes; None for nobody's. Two subjects may share a key."""
    keys: dict[str | None, bytes | None] = {None: None}
    listed = []
    for event in events:
        subject = subject_of(event.user_id, event.session_id)
        if subject not in keys:
            keys[subject] = _key(subject or "")
        listed.append(keys[subject])
    return listed


def entry_of(subject_key: bytes, number: int) -> bytes:
    """The key under which the index says that event `number` is of the subject."""
    return _ENTRY.pack(number >> _BLOCK_BITS, subject_key, number & _IN_BLOCK)


def numbers_of(cursor: Any, subject: str, after: int = 0) -> Iterator[int]:
    """Numbers above `after` indexed for the subject's key, in order; some may be of another subject with that key.

    `cursor` is an LMDB cursor on the index, which may not change meanwhile.
    """
    key = _key(subject)
    found = cursor.set_range(entry_of(key, after + 1))
    while found:
        block, other, within = _ENTRY.unpack(cursor.key())
        if other == key:
            yield block << _BLOCK_BITS | within
            found = cursor.next()
        else:
            found = cursor.set_range(_PREFIX.pack(block + (other > key), key))


def _key(subject: str) -> bytes:
    return key_of(subject).to_bytes(8, "big")
