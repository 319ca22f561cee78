"""Avro's binary values, read strictly; knows nothing of names, versions or messages.

Each function reads one value, `(data, offset) -> (value, offset)`, or is made to. Nothing is allocated because the
bytes claim a length: what claims more than is left is refused first. Stricter than most readers: booleans are 0 or 1,
a number has at most ten bytes, an index names an existing branch.
"""

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

Decode: TypeAlias = Callable[[bytes, int], tuple[Any, int]]
# Truncated data shows itself as an index or a struct beyond the end; bad UTF-8 is a ValueError.
MALFORMED = (ValueError, IndexError, struct.error)

_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")


def read_enum(symbols: list[str | None]) -> Decode:
    """Of these symbols in the writer's order; None stands for one that the reader does not have."""

    def enum(data: bytes, at: int) -> tuple[Any, int]:
        index, at = read_long(data, at)
        if not 0 <= index < len(symbols) or (symbol := symbols[index]) is None:
            raise ValueError(f"an enum has no symbol {index}")
        return symbol, at

    return enum


def read_union(branches: list[Decode]) -> Decode:
    """By the index before the value; the usual union, null or something, without the search for it."""
    count = len(branches)
    if count == 2 and branches[0] is _null:
        return _optional(branches[1])

    def union(data: bytes, at: int) -> tuple[Any, int]:
        index = data[at]
        if index < 128:
            index >>= 1
            if not data[at] & 1 and index < count:
                return branches[index](data, at + 1)
        else:
            index, after = read_long(data, at)
            if 0 <= index < count:
                return branches[index](data, after)
        raise ValueError(f"a union of {count} types has no type {index}")

    return union


def _optional(decode: Decode) -> Decode:
    def optional(data: bytes, at: int) -> tuple[Any, int]:
        index = data[at]
        if index == 2:
            return decode(data, at + 1)
        if index == 0:
            return None, at + 1
        index, at = read_long(data, at)
        if index not in (0, 1):
            raise ValueError(f"a union of 2 types has no type {index}")
        return decode(data, at) if index else (None, at)

    return optional


def read_array(decode: Decode) -> Decode:
    def array(data: bytes, at: int) -> tuple[Any, int]:
        made: list[Any] = []
        while True:
            count, at = _block(data, at)
            if not count:
                return made, at
            for _ in range(count):
                value, at = decode(data, at)
                made.append(value)

    return array


def read_map(decode: Decode) -> Decode:
    def mapping(data: bytes, at: int) -> tuple[Any, int]:
        made: dict[str, Any] = {}
        while True:
            count, at = _block(data, at)
            if not count:
                return made, at
            for _ in range(count):
                key, at = _string(data, at)
                made[key], at = decode(data, at)

    return mapping


def _block(data: bytes, at: int) -> tuple[int, int]:
    """Entries of the next block of an array or map; 0 at its end."""
    count = data[at]
    if count < 128 and not count & 1:
        count >>= 1
        at += 1
    else:
        count, at = read_long(data, at)
        if count < 0:
            count = -count
            size, at = read_long(data, at)
            if not 0 <= size <= len(data) - at:
                raise ValueError(f"a block claims {size} bytes, {len(data) - at} are left")
    # Every entry takes a byte at least, see `check_bounded`.
    if count > len(data) - at:
        raise ValueError(f"a block claims {count} entries, {len(data) - at} bytes are left")
    return count, at


def read_long(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at
    number = byte & 127
    shift = 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than ten bytes")
    if number >> 64:
        raise ValueError("a number has more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def _int(data: bytes, at: int) -> tuple[int, int]:
    number, at = read_long(data, at)
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"{number} is no 32-bit integer")
    return number, at


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size = data[at]
    if size < 128 and not size & 1:
        start = at + 1
        end = start + (size >> 1)
    else:
        size, start = read_long(data, at)
        end = start + size
    if not start <= end <= len(data):
        raise ValueError(f"a string claims {end - start} bytes, {len(data) - start} are left")
    return data[start:end], end


def _string(data: bytes, at: int) -> tuple[str, int]:
    # The short ones, which most are, without a call.
    size = data[at]
    if size < 128 and not size & 1:
        at += 1
        end = at + (size >> 1)
        if end <= len(data):
            return str(data[at:end], "utf-8"), end
        raise ValueError(f"a string claims {end - at} bytes, {len(data) - at} are left")
    value, at = _bytes(data, at)
    return str(value, "utf-8"), at


def _null(data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    if data[at] > 1:
        raise ValueError(f"{data[at]} is no boolean")
    return data[at] == 1, at + 1


def _float(data: bytes, at: int) -> tuple[float, int]:
    return _FLOAT.unpack_from(data, at)[0], at + 4


def _double(data: bytes, at: int) -> tuple[float, int]:
    return _DOUBLE.unpack_from(data, at)[0], at + 8


def read_fixed(size: int) -> Decode:
    def fixed(data: bytes, at: int) -> tuple[bytes, int]:
        if at + size > len(data):
            raise ValueError(f"a fixed needs {size} bytes, {len(data) - at} are left")
        return data[at : at + size], at + size

    return fixed


PRIMITIVE: dict[str, Decode] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": read_long,
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": _string,
}
