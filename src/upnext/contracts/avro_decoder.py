"""Two versions of an Avro schema become one function that reads the bytes of the older as the newer; knows no framing.

A pair of schemas resolves as Avro 1.11 says under "Schema Resolution"; what it reads with is in `avro_values.py`.
"""

import copy
from collections.abc import Callable
from typing import Any

from upnext.contracts.avro_types import NO_DEFAULT, PROMOTED_FROM, Field, Type, names_agree, writer_field
from upnext.contracts.avro_values import (
    PRIMITIVE,
    Decode,
    read_array,
    read_enum,
    read_fixed,
    read_map,
    read_union,
)
from upnext.errors import DataError


def compiled(writer: Type, reader: Type) -> Decode:
    """The function that reads one value written by `writer` as `reader` sees it; records become dicts.

    It raises one of `MALFORMED` for bytes that are no such value. Raises `DataError` itself for types that hostile
    bytes could blow up: recursive ones, and lists of things that take no bytes.
    """
    check_bounded(writer)
    return _compiled(writer, reader)


def check_bounded(schema: Type, above: tuple[Type, ...] = ()) -> int:
    """The least bytes a value takes; raises `DataError` for recursion and for lists of things that take none."""
    if schema in above:
        raise DataError(f"{schema.word} contains itself; a message has no depth without end, so flatten it")
    within = (*above, schema)
    if schema.kind == "record":
        return sum(check_bounded(each.type, within) for each in schema.fields)
    if schema.kind == "union":
        return 1 + min(check_bounded(branch, within) for branch in schema.branches)
    if schema.inner is not None:
        if check_bounded(schema.inner, within) == 0:
            raise DataError(f"a {schema.kind} of {schema.inner.word} has entries of no bytes, so no bound; change it")
        return 1
    return {"null": 0, "float": 4, "double": 8, "fixed": schema.size}.get(schema.kind, 1)


def _compiled(writer: Type, reader: Type) -> Decode:
    if writer.kind == "union":
        return read_union([_readable(branch, reader) for branch in writer.branches])
    if reader.kind == "union":
        return _first_that_reads(writer, reader)
    if writer.kind != reader.kind:
        return _promoted(writer, reader)
    if writer.kind == "record":
        return _record(writer, reader)
    if writer.kind == "enum":
        _check_names(writer, reader)
        return read_enum([each if each in reader.symbols else reader.default for each in writer.symbols])
    if writer.kind == "fixed":
        _check_names(writer, reader)
        if writer.size != reader.size:
            raise _Unreadable(f"{writer.size} bytes of {writer.word} cannot be read as {reader.size}")
        return read_fixed(writer.size)
    if writer.inner is not None and reader.inner is not None:
        return (read_array if writer.kind == "array" else read_map)(_compiled(writer.inner, reader.inner))
    return PRIMITIVE[writer.kind]


class _Unreadable(DataError):
    """A reader cannot take what this writer writes."""


def _check_names(writer: Type, reader: Type) -> None:
    if not names_agree(reader, writer):
        raise _Unreadable(f"{writer.word} cannot be read as {reader.word}")


def _readable(writer: Type, reader: Type) -> Decode:
    """Of a branch of the writer's: what cannot be read fails only when it comes."""
    try:
        return _compiled(writer, reader)
    except _Unreadable as error:
        message = str(error)

        def fail(data: bytes, at: int) -> tuple[Any, int]:
            raise ValueError(message)

        return fail


def _first_that_reads(writer: Type, reader: Type) -> Decode:
    """The reader's branch of the writer's own kind if there is one, else the first it is promoted to, as Java does."""
    own_first = sorted(reader.branches, key=lambda branch: branch.kind != writer.kind)
    for branch in own_first:
        try:
            return _compiled(writer, branch)
        except _Unreadable:
            continue
    raise _Unreadable(f"{writer.word} cannot be read as {reader.word}")


def _promoted(writer: Type, reader: Type) -> Decode:
    if writer.kind not in PROMOTED_FROM.get(reader.kind, ()):
        raise _Unreadable(f"{writer.word} cannot be read as {reader.word}")
    decode = PRIMITIVE[writer.kind]
    if reader.kind == "long" or writer.kind == "float":
        return decode
    changes: dict[str, Callable[[Any], Any]] = {"bytes": str.encode, "string": bytes.decode}
    change = changes.get(reader.kind, float)

    def promoted(data: bytes, at: int) -> tuple[Any, int]:
        value, at = decode(data, at)
        return change(value), at

    return promoted


def _record(writer: Type, reader: Type) -> Decode:
    _check_names(writer, reader)
    taken = {id(source): wanted for wanted in reader.fields if (source := writer_field(writer, wanted)) is not None}
    # What the reader does not have is read under no name, to be dropped.
    dropped = Field("", Type("null"), NO_DEFAULT)
    steps = []
    for each in writer.fields:
        wanted = taken.get(id(each), dropped)
        steps.append((wanted.name, _compiled(each.type, each.type if wanted is dropped else wanted.type)))
    absent = {}
    for wanted in reader.fields:
        if writer_field(writer, wanted) is None:
            if wanted.default is NO_DEFAULT:
                raise _Unreadable(f"{reader.word} needs {wanted.name}, which {writer.word} does not have")
            absent[wanted.name] = default_value(wanted.type, wanted.default)
    drops = len(taken) < len(writer.fields)

    def record(data: bytes, at: int) -> tuple[Any, int]:
        made = copy.deepcopy(absent) if absent else {}
        for name, decode in steps:
            made[name], at = decode(data, at)
        if drops:
            del made[""]
        return made, at

    return record


def default_value(schema: Type, default: Any) -> Any:
    """A default as the schema has it in JSON, as the value that reading gives."""
    if schema.kind == "union":
        # Of the first branch by the older standard, of any by the newer.
        return default_value(next(each for each in schema.branches if _fits(each, default)), default)
    if schema.kind in ("bytes", "fixed"):
        return default.encode("latin-1")
    if schema.kind in ("float", "double"):
        return float(default)
    if schema.kind == "array" and schema.inner is not None:
        return [default_value(schema.inner, each) for each in default]
    if schema.kind == "map" and schema.inner is not None:
        return {key: default_value(schema.inner, each) for key, each in default.items()}
    if schema.kind == "record":
        return {each.name: default_value(each.type, default.get(each.name, each.default)) for each in schema.fields}
    return default


def _fits(schema: Type, default: Any) -> bool:
    kinds: dict[type, tuple[str, ...]] = {
        type(None): ("null",),
        bool: ("boolean",),
        int: ("int", "long", "float", "double"),
        float: ("float", "double"),
        str: ("string", "bytes", "fixed", "enum"),
        list: ("array",),
        dict: ("map", "record"),
    }
    return schema.kind in kinds[type(default)]
