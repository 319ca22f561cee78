"""Events as logs keep them: MessagePack, and a digest that says whether two are the same; knows no log."""

from hashlib import blake2b

import msgspec

from upnext.domain.event import Event
from upnext.errors import StoreError

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


def decode(sequence: int, raw: bytes) -> Event:
    """The event stored as number `sequence`; raises `StoreError` naming it when the bytes are not one."""
    try:
        return _decode(raw)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"event {sequence} of the log cannot be read ({error}); the log is damaged or of a newer version: "
            "restore a copy or upgrade upnext"
        ) from error


def identity_of(event: Event) -> bytes:
    """16-byte BLAKE2b digest of tenant and event id: equal exactly for events that are the same."""
    # The length keeps ("a", "bc") and ("ab", "c") apart.
    identity = f"{len(event.tenant)}:{event.tenant}{event.event_id}"
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).digest()
