"""A JSON body as one record, an array of them, or a named list; knows nothing of what the records mean."""

import json
import re
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from upnext.contracts.json_depth import MAX_DEPTH, brackets_opened, check_depth, depth_of, too_deep
from upnext.errors import ContractError

Record = TypeVar("Record")
# Makes a record of what was on the wire, or raises `ContractError` with paths that start at `$`.
Accept: TypeAlias = Callable[[Any], Record]

_PATH_IN_MESSAGE = re.compile(r"^(.*) - at `(.*)`$", re.DOTALL)
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_RAW_MAP = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE = (ValueError, RecursionError)


class Failure(NamedTuple):
    """A record that was refused: its place, its bytes as they were sent, and why."""

    place: int
    raw: bytes
    error: ContractError


class Parts(NamedTuple, Generic[Record]):
    """What became of a body: the records in their order, and the failures in theirs."""

    records: list[Record]
    failures: list[Failure]

    def in_order(self) -> list[Record | ContractError]:
        """Both, each at its place."""
        failed = {failure.place: failure.error for failure in self.failures}
        records = iter(self.records)
        count = len(self.records) + len(self.failures)
        return [failed[place] if place in failed else next(records) for place in range(count)]


class JsonReader:
    """Reads bodies of one kind of record, which may come in a list called `name`. Nothing here raises but `one`."""

    def __init__(self, wire: type[msgspec.Struct], name: str, free_form: str) -> None:
        self._name = name
        self._quoted = f'"{name}"'.encode()
        self._free_form = free_form  # the field that holds a map, which is a level of nesting
        self._one = msgspec.json.Decoder(wire)
        self._many = msgspec.json.Decoder(list[wire])  # type: ignore[valid-type]

    def one(self, raw: bytes | msgspec.Raw, accept: Accept[Record], at: str = "$") -> Record:
        """The record in one JSON object; raises `ContractError` with paths inside `at`, whatever the bytes."""
        try:
            wire = self._one.decode(raw)
        except _UNREADABLE as error:
            raise translated(error, at) from error
        try:
            check_depth(raw if type(raw) is bytes else bytes(raw))
            return accept(wire)
        except ContractError as error:
            raise moved(error, at) from error

    def read(self, body: bytes, accept: Accept[Record]) -> Parts[Record]:
        """The records of a body that is one object, an array of objects, or an object with an array under the name.

        Failures have paths such as `$[3].item_id`. A body that cannot be taken apart is one failure.
        """
        try:
            listed, prefix = _list_in(body, self._name, self._quoted)
        except _UNREADABLE as error:
            return Parts([], [Failure(0, body, translated(error))])
        except ContractError as error:
            return Parts([], [Failure(0, body, error)])
        if listed is None:
            try:
                return Parts([self.one(body, accept)], [])
            except ContractError as error:
                return Parts([], [Failure(0, body, error)])
        try:
            wires = self._many.decode(listed)
        except _UNREADABLE:
            return self._read_each(body, listed, prefix, accept)
        if self._is_deep(body, wires):
            return self._read_each(body, listed, prefix, accept)
        return _accepted(wires, listed, prefix, accept)

    def _is_deep(self, body: bytes, wires: list[Any]) -> bool:
        """Whether some record is too deep; brackets of records and of their maps stand side by side."""
        spare = MAX_DEPTH + len(wires) - brackets_opened(body)
        if spare >= 0:
            return False
        maps = len(wires) - [getattr(wire, self._free_form) for wire in wires].count(None)
        return spare + maps - 1 < 0 and depth_of(body) > MAX_DEPTH

    def _read_each(
        self, body: bytes, listed: bytes | msgspec.Raw, prefix: str, accept: Accept[Record]
    ) -> Parts[Record]:
        """The slow way, taken when some record is broken: each is decoded by itself."""
        try:
            raws = _RAW_LIST.decode(listed)
        except _UNREADABLE as error:
            return Parts([], [Failure(0, body, translated(error, prefix))])
        parts: Parts[Record] = Parts([], [])
        for index, raw in enumerate(raws):
            try:
                parts.records.append(self.one(raw, accept, f"{prefix}[{index}]"))
            except ContractError as error:
                parts.failures.append(Failure(index, bytes(raw), error))
        return parts


def translated(error: Exception, at: str = "$") -> ContractError:
    """What a failed decoding means: `malformed_json`, `wrong_type` or `too_deep`, with the path inside `at`."""
    if isinstance(error, msgspec.ValidationError):
        found = _PATH_IN_MESSAGE.match(str(error))
        what, inner = found.groups() if found else (str(error), "$")
        path = at + inner[1:]
        return ContractError("wrong_type", f"{path}: {what}; see docs/contracts.md for the types", path)
    if isinstance(error, RecursionError):
        return too_deep(at)
    return ContractError("malformed_json", f"{at} is not JSON in UTF-8: {error}; send what a JSON library writes", at)


def _accepted(wires: list[Any], listed: bytes | msgspec.Raw, prefix: str, accept: Accept[Record]) -> Parts[Record]:
    records: list[Record] = []
    refused: list[tuple[int, ContractError]] = []
    for index, wire in enumerate(wires):
        try:
            records.append(accept(wire))
        except ContractError as error:
            refused.append((index, moved(error, f"{prefix}[{index}]")))
    if not refused:
        return Parts(records, [])
    raws = _RAW_LIST.decode(listed)  # only now that their bytes are needed
    return Parts(records, [Failure(index, bytes(raws[index]), error) for index, error in refused])


def moved(error: ContractError, at: str) -> ContractError:
    """The same rejection of a record that is found at `at`."""
    if at == "$":
        return error
    path = at + error.path[1:]
    return ContractError(error.reason, str(error).replace(error.path, path, 1), path)


def _list_in(body: bytes, name: str, quoted: bytes) -> tuple[bytes | msgspec.Raw | None, str]:
    """The JSON array of records and its path; (None, "$") when the body is one record."""
    head = body[:1]
    if head not in (b"{", b"["):
        head = body.lstrip()[:1]
    if head == b"[":
        return body, "$"
    # Only a body that could hold the name is worth a second look.
    if head == b"{" and quoted in body:
        members = _RAW_MAP.decode(body)
        if name in members:
            if body.count(quoted) > 1 and _repeats(body, name):
                raise ContractError(
                    "repeated_list", f"$.{name} is there more than once; send one list of {name}", f"$.{name}"
                )
            return members[name], f"$.{name}"
    return None, "$"


def _repeats(body: bytes, name: str) -> bool:
    """Whether an object has a member of that name twice, of which decoders keep the last and lose the first."""
    outermost: list[tuple[str, Any]] = []

    def remember(pairs: list[tuple[str, Any]]) -> None:
        outermost[:] = pairs  # the last call is for the outermost object

    json.loads(body, object_pairs_hook=remember)
    return sum(key == name for key, _ in outermost) > 1
