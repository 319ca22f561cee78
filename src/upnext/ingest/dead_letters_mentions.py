"""Whether refused bytes name somebody, however they spell it; knows nothing of where the bytes are kept."""

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

_INFLATED_BYTES = 32 * 2**20  # most that is unpacked of one compressed body
_INFLATE_WBITS = 47  # zlib and gzip alike
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_ESCAPES = re.compile(rb"((?:\\u[0-9a-fA-F]{4})+)|\\(.)", re.DOTALL)
_SHORT = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_WORD = rb"[0-9A-Za-z_]"


class Mentions:
    """Finds ids that stand as a whole value in bytes of any kind. Errs on the side of finding too much.

    In what is JSON, ids are compared with every string, every key and the digits of every number, repeated keys and
    JSON inside strings included. In anything else (broken JSON, Avro, Protobuf, MessagePack, forms, UTF-16, gzip) an
    id counts as named where it stands apart from letters and digits, escaped or not, or behind its length.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = frozenset(ids) - {""}
        self._names = {name: _standing_alone(name) for name in map(_bytes, sorted(self._ids))}

    def found_in(self, raw: bytes) -> bool:
        """Whether `raw` names one of the ids."""
        if raw.startswith(_COMPRESSED):
            return self._found_in_compressed(raw)
        # Searching for plain bytes is fast, and of most letters all that has to be done.
        readings = list(_readings(raw))
        named = [(text, pattern) for text in readings for name, pattern in self._names.items() if name in text]
        if not named:
            return False
        values = _json_values(raw)
        if values is None:
            return any(pattern.search(text) for text, pattern in named)
        return any(value in self._ids or self._found_in_text(value) for value in values)

    def _found_in_text(self, value: str) -> bool:
        """Whether a string of a JSON body is itself a body that names one."""
        return value.lstrip()[:1] in ("{", "[", '"') and self.found_in(_bytes(value))

    def _found_in_compressed(self, raw: bytes) -> bool:
        inflater = zlib.decompressobj(_INFLATE_WBITS)
        try:
            inflated = inflater.decompress(raw, _INFLATED_BYTES)
        except zlib.error:
            return bool(self._ids)  # damaged: nobody can tell, so it may
        if inflater.unconsumed_tail:
            return bool(self._ids)  # too much to look through, so it may
        return any(self.found_in(part) for part in (inflated, inflater.unused_data) if part)


def _standing_alone(name: bytes) -> re.Pattern[bytes]:
    length = len(name)
    before = {_varint(2 * length), _varint(length)}  # Avro writes lengths zig-zag, Protobuf plain
    if length < 32:
        before.add(bytes([0xA0 | length]))  # MessagePack, short; its longer forms end with the length as a byte
    before.add(bytes([length & 0xFF]))
    lengths = b"|".join(map(re.escape, sorted(before)))
    alone, prefixed = rb"(?<!%b)%b(?!%b)" % (_WORD, re.escape(name), _WORD), rb"(?:%b)%b" % (lengths, re.escape(name))
    return re.compile(rb"%b|%b" % (alone, prefixed))


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _readings(raw: bytes) -> Iterator[bytes]:
    """The bytes as they are, then as UTF-8 with every kind of escape that occurs resolved."""
    yield raw
    encoding = json.detect_encoding(raw)
    text = raw
    if encoding not in ("utf-8", "utf-8-sig"):
        text = raw.decode(encoding, "replace").encode("utf-8", "surrogatepass")
        yield text
    if b"%" in text or b"+" in text:
        yield unquote_to_bytes(text.replace(b"+", b" "))
    # Again and again, since JSON may have been put into a string of JSON; each round halves the backslashes.
    while b"\\" in text:
        resolved = _ESCAPES.sub(_resolved, text)
        if resolved == text:
            return
        text = resolved
        yield text


def _resolved(escape: re.Match[bytes]) -> bytes:
    units, short = escape.groups()
    if units is None:
        return _SHORT.get(short, short)
    # A run at a time, so that the two halves of a surrogate pair stay together.
    text = bytes.fromhex(units.replace(b"\\u", b"").decode()).decode("utf-16-be", "surrogatepass")
    return _bytes(text)


def _json_values(raw: bytes) -> Iterator[str] | None:
    """Every string, key and number in a JSON body, as text; None where it is no JSON."""
    try:
        body = json.loads(raw, object_pairs_hook=_flat, parse_int=str, parse_float=_spellings, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return _strings(body)


def _flat(pairs: list[tuple[str, Any]]) -> list[Any]:
    """Keys and values, also of a key given twice, of which a dict would keep one."""
    return [part for pair in pairs for part in pair]


def _spellings(number: str) -> list[str]:
    """A number with a point, and the whole number it may stand for: ids that went through a table often get a `.0`."""
    value = float(number)
    return [number, str(int(value))] if value.is_integer() else [number]


def _strings(body: Any) -> Iterator[str]:
    waiting = [body]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, str):
            yield part


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
