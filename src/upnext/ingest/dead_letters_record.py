"""What is kept of a refused record, and what is counted; knows nothing of where it is kept."""

from base64 import b64encode
from collections.abc import Collection
from typing import Literal

import msgspec

from upnext.errors import StoreError

Kind = Literal["event", "item", "user"]
KINDS: tuple[Kind, ...] = ("event", "item", "user")


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, array_like=True, omit_defaults=True):
    """Bytes that the gate refused, unchanged, and why; `number` is 0 until the queue has given one out.

    Stored as a MessagePack array: append fields only, with defaults.
    """

    number: int = 0
    kind: Kind = "event"
    raw: bytes
    content_type: str
    reason: str  # a short stable code, as in `ContractError.reason`
    path: str = "$"  # the field, as in `$.timestamp_ms`
    message: str = ""
    schema: str = ""  # contract and version by which it was read, empty where unknown
    producer: str = ""  # empty where unknown
    received_ms: int
    gate: str = ""  # version of the gate that refused it last


class Totals(msgspec.Struct, kw_only=True):
    """Counts since the queue was made, of letters; they survive restarts and hold for all processes together.

    `last` = `waiting` + `replayed` + `removed` + all that were dropped, but for the oversized, which get no number.
    """

    waiting: int = 0
    waiting_bytes: int = 0  # as stored: the letters' bytes with what is said of them
    dropped_by_size: int = 0  # the oldest, to make room, and those too large for the queue
    dropped_by_age: int = 0
    replayed: int = 0  # passed the gate later on
    removed: int = 0  # by an operator, or because they named a forgotten user
    withheld: int = 0  # never stored: the producer had said that consent was missing
    last: int = 0  # the highest number given out
    by_reason: dict[str, int] = {}  # of those that wait


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant: those for which all that is given holds; nothing given: all."""

    numbers: Collection[int] | None = None
    reason: str | None = None
    producer: str | None = None
    kind: Kind | None = None
    after: int = 0  # only higher numbers
    before: int | None = None  # only lower numbers
    after_upgrade: bool = False  # only those another version of the gate refused; `replay` knows the present one

    def agrees(self, letter: DeadLetter) -> bool:
        """Whether all holds for the letter that can be told by it alone, `numbers` aside."""
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.producer is None or letter.producer == self.producer)
            and (self.kind is None or letter.kind == self.kind)
            and letter.number > self.after
            and (self.before is None or letter.number < self.before)
        )


class LetterView(msgspec.Struct, frozen=True, kw_only=True):
    """A letter for people and programs that read JSON; its bytes are in `text` or `base64`, or left out."""

    number: int
    kind: Kind
    reason: str
    path: str
    message: str
    schema: str
    producer: str
    received_ms: int
    gate: str
    content_type: str
    size_bytes: int
    text: str | None = None  # the bytes, where they are UTF-8
    base64: str | None = None  # the bytes, where they are not


def view(letter: DeadLetter, *, with_bytes: bool = True) -> LetterView:
    """The letter as it is shown, unchanged bytes included unless told otherwise."""
    text: str | None = None
    base64: str | None = None
    if with_bytes:
        try:
            text = letter.raw.decode()
        except UnicodeDecodeError:
            base64 = b64encode(letter.raw).decode()
    told = {name: getattr(letter, name) for name in letter.__struct_fields__ if name != "raw"}
    return LetterView(**told, size_bytes=len(letter.raw), text=text, base64=base64)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DeadLetter).decode


def encode(letter: DeadLetter) -> bytes:
    """The letter as it is stored, number included."""
    return _encode(letter)


def decode(number: int, stored: bytes) -> DeadLetter:
    """The letter stored as `number`; raises `StoreError` naming it when the bytes are not one."""
    try:
        return _decode(stored)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"dead letter {number} cannot be read ({error}); the queue is damaged or of a newer version: restore a "
            "copy, upgrade upnext, or move the folder away to start an empty queue"
        ) from error
