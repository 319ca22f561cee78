"""What a Redis server says in version 3 of its protocol, read piece by piece as it comes; knows no meaning of it.

Source: the specification of RESP3 (Redis 6 and later). Values that are sent in parts of unknown length, which no
command used here gives, are refused.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from upnext.errors import StoreError

_END = b"\r\n"
_BLOBS = (b"$", b"=", b"!")
_LISTS = (b"*", b">", b"~", b"%", b"|")
_KINDS = (b"", b"+", b"-", b":", b"_", b"#", b",", b"(", *_BLOBS, *_LISTS)


class Push(list[Any]):
    """What the server says unasked, between replies."""


class Refusal(str):
    """A command's error."""


def packed(commands: Sequence[Sequence[bytes]]) -> bytes:
    """The commands as they are sent."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in command]
    return b"".join(parts)


class _Unfinished(NamedTuple):
    """A list, some of whose values have not come yet."""

    values: list[Any]
    size: int
    dropped: bool  # attributes of the value behind them


class Messages:
    """Whole values out of bytes that come in any pieces, each of which is looked at once."""

    def __init__(self) -> None:
        self._rest = b""
        self._unfinished: list[_Unfinished] = []  # outermost first

    def of(self, data: bytes) -> list[Any]:
        """The values that `data` completes: bytes, int, bool, None, lists (a map is its pairs in a row), `Push`,
        `Refusal`. Raises `StoreError` for what is none.
        """
        text = self._rest + data if self._rest else data
        whole: list[Any] = []
        at = 0
        try:
            while (end := text.find(_END, at)) >= 0:
                kind, head, after = text[at : at + 1], text[at + 1 : end], end + 2
                if kind in _BLOBS and (size := int(head)) >= 0:
                    end = after + size
                    if len(text) < end + 2:
                        break
                    if text[end : end + 2] != _END:
                        raise ValueError("a value that is longer than it says")
                    self._add(_blob(kind, text[after:end]), whole)
                    after = end + 2
                elif kind in _LISTS and (size := int(head)) >= 0:
                    self._begin(kind, size, whole)
                else:
                    self._add(_plain(kind, head), whole)
                at = after
            if end < 0 and text[at : at + 1] not in _KINDS:
                raise ValueError("no kind of value")
        except ValueError as error:
            raise StoreError(f"what came is not the protocol of Redis: {text[at : at + 40]!r}") from error
        self._rest = text[at:]
        return whole

    def _begin(self, kind: bytes, size: int, whole: list[Any]) -> None:
        values: list[Any] = Push() if kind == b">" else []
        if size:
            self._unfinished.append(_Unfinished(values, 2 * size if kind in b"%|" else size, kind == b"|"))
        elif kind != b"|":
            self._add(values, whole)

    def _add(self, value: Any, whole: list[Any]) -> None:
        """A value goes to the innermost list that waits for one, which may complete it, or is whole itself."""
        while self._unfinished:
            values, size, dropped = self._unfinished[-1]
            values.append(value)
            if len(values) < size:
                return
            self._unfinished.pop()
            if dropped:
                return
            value = values
        whole.append(value)


def _blob(kind: bytes, text: bytes) -> bytes | Refusal:
    if kind == b"=":  # three letters of format and a colon come first
        return text[4:]
    return Refusal(text.decode(errors="replace")) if kind == b"!" else text


def _plain(kind: bytes, head: bytes) -> Any:
    """A value that is one line; none of what has a length below zero. Raises `ValueError`."""
    if kind in (b"+", b",", b"("):
        return head
    if kind == b":":
        return int(head)
    if kind == b"#":
        return head == b"t"
    if kind == b"-":
        return Refusal(head.decode(errors="replace"))
    if kind == b"_" or kind in _BLOBS or kind in _LISTS:
        return None
    raise ValueError("no kind of value")
