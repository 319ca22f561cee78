"""The eight bytes in front of every stored value: the moment from which it is absent; knows no store."""

import struct

from upnext.clock import Clock
from upnext.errors import StoreError
from upnext.store.limits import expiry_ms

_HEADER = struct.Struct(">Q")  # ms since 1970, or 0
HEADER_BYTES = _HEADER.size
STAYS = _HEADER.pack(0)


def expiry_header(clock: Clock, ttl_ms: int | None) -> bytes:
    """Of a value put now that is absent once `ttl_ms` have passed, or with None stays."""
    return STAYS if ttl_ms is None else _HEADER.pack(expiry_ms(clock.now_ms(), ttl_ms))


def moment_header(now_ms: int) -> bytes:
    """Of a value that is absent from `now_ms` on; headers sort as their moments do."""
    return _HEADER.pack(now_ms)


def live_value(raw: bytes | None, clock: Clock) -> bytes | None:
    """The value without its header; None where there is none or it has expired.

    Raises `StoreError` for bytes too short for a header, which somebody else must have put.
    """
    if raw is None:
        return None
    header = raw[:HEADER_BYTES]
    if header != STAYS:
        if len(header) < HEADER_BYTES:
            raise StoreError(f"the store holds {raw!r}, which upnext did not put; keep others out or choose a prefix")
        if clock.now_ms() >= _HEADER.unpack(header)[0]:
            return None
    return raw[HEADER_BYTES:]
