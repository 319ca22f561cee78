"""A JSON body as one record, an array of them, or a named list; knows nothing of what the records mean."""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from upnext.errors import ContractError

Wire = TypeVar("Wire")
Record = TypeVar("Record")
# Makes a record of what was on the wire, or raises `ContractError` with paths that start at `$`.
Accept = Callable[[Wire], Record]

_PATH_IN_MESSAGE = re.compile(r"^(.*) - at `(.*)`$", re.DOTALL)
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_RAW_MAP = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode_one(raw: bytes, decoder: msgspec.json.Decoder[Wire], accept: Accept[Wire, Record]) -> Record:
    """The record in a body of one JSON object; raises `ContractError`, whatever the bytes."""
    try:
        wire = decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        raise translated(error) from error
    return accept(wire)


def decode_many(
    raw: bytes,
    name: str,
    decoder: msgspec.json.Decoder[Wire],
    list_decoder: msgspec.json.Decoder[list[Wire]],
    accept: Accept[Wire, Record],
) -> list[Record | ContractError]:
    """The records of a body that is one object, an array of objects, or an object with an array under `name`.

    One entry per record in their order, a `ContractError` for each that breaks the contract, with paths such as
    `$[3].item_id`. A body that cannot be read at all is one entry; nothing is raised.
    """
    try:
        body, prefix = _list_in(raw, name)
        if body is None:
            return [_accepted(decoder.decode(raw), accept, "$")]
    except (ValueError, RecursionError) as error:
        return [translated(error)]
    try:
        wires = list_decoder.decode(body)
    except (ValueError, RecursionError):
        return _decode_each(body, prefix, decoder, accept)
    return [_accepted(wire, accept, f"{prefix}[%d]", position) for position, wire in enumerate(wires)]


def translated(error: Exception, at: str = "$") -> ContractError:
    """What a failed decoding means: `malformed_json` or `wrong_type`, with the path inside `at`."""
    if isinstance(error, msgspec.ValidationError):
        found = _PATH_IN_MESSAGE.match(str(error))
        what, inner = found.groups() if found else (str(error), "$")
        path = at + inner[1:]
        return ContractError("wrong_type", f"{path}: {what}; see the event contract for the types", path)
    if isinstance(error, RecursionError):
        return ContractError("malformed_json", f"{at} is nested too deeply; send flat objects", at)
    return ContractError("malformed_json", f"{at} is not JSON in UTF-8: {error}", at)


def _list_in(raw: bytes, name: str) -> tuple[bytes | msgspec.Raw | None, str]:
    """The JSON array of records and its path; (None, "$") when the body is one record."""
    head = raw.lstrip()[:1]
    if head == b"[":
        return raw, "$"
    # Only a body that could hold the name is worth a second look.
    if head == b"{" and f'"{name}"'.encode() in raw:
        members = _RAW_MAP.decode(raw)
        if name in members:
            return members[name], f"$.{name}"
    return None, "$"


def _decode_each(
    body: bytes | msgspec.Raw, prefix: str, decoder: msgspec.json.Decoder[Wire], accept: Accept[Wire, Record]
) -> list[Record | ContractError]:
    """The slow way, taken when some record is broken: each is decoded by itself."""
    try:
        parts = _RAW_LIST.decode(body)
    except (ValueError, RecursionError) as error:
        return [translated(error, prefix)]
    records: list[Record | ContractError] = []
    for position, part in enumerate(parts):
        try:
            wire = decoder.decode(part)
        except (ValueError, RecursionError) as error:
            records.append(translated(error, f"{prefix}[{position}]"))
        else:
            records.append(_accepted(wire, accept, f"{prefix}[%d]", position))
    return records


def _accepted(wire: Wire, accept: Accept[Wire, Record], at: str, position: int | None = None) -> Record | ContractError:
    try:
        return accept(wire)
    except ContractError as error:
        where = at if position is None else at % position
        path = where + error.path[1:]
        return ContractError(error.reason, str(error).replace(error.path, path, 1), path)
