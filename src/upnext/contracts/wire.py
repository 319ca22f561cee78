"""Records as JSON spells them, made from the Avro schemas so that there is one source; knows no limits of values.

Every field may be left out, for the gate says better than a decoder what is missing: it is then the schema's default,
or None. Unknown fields are ignored, so producers may run ahead of the server.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Union

import msgspec

from upnext.contracts.avro_types import NO_DEFAULT, Field, Type
from upnext.contracts.fields import Int64
from upnext.contracts.registry import Schema
from upnext.errors import DataError

_Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_PLAIN: dict[str, Any] = {
    "null": None,
    "boolean": bool,
    "int": _Int32,
    "long": Int64,
    "float": float,
    "double": float,
    "string": str,
}


def wire_struct(name: str, schemas: Iterable[Schema]) -> type[msgspec.Struct]:
    """A struct with the fields of all `schemas`.

    Raises `DataError` when two of them have a field of one name that differs in more than being required.
    """
    fields: dict[str, tuple[str, Any, Any]] = {}
    for schema in schemas:
        for each in schema.type.fields:
            made = _field(each)
            if fields.setdefault(each.name, made) != made:
                raise DataError(f"{each.name} of {schema.name} is not as in the schemas before it; give both one type")
    return msgspec.defstruct(name, fields.values(), module=__name__, gc=False)


def _field(field: Field) -> tuple[str, Any, Any]:
    made = _python(field.type)
    if field.type.kind == "array":
        return field.name, made, msgspec.field(default_factory=list)
    scalar = field.default if field.default is not NO_DEFAULT and field.type.kind != "map" else None
    return field.name, made if scalar is not None else made | None, scalar


def _python(schema: Type) -> Any:
    """The Python type that JSON is decoded to; maps and arrays hold what they hold, whatever its depth."""
    if schema.kind == "union":
        return Union[tuple(_python(branch) for branch in schema.branches)]  # noqa: UP007
    if schema.kind == "map" and schema.inner is not None:
        return dict[str, _python(schema.inner)]  # type: ignore[misc]
    if schema.kind == "array" and schema.inner is not None:
        return list[_python(schema.inner)]  # type: ignore[misc]
    if schema.kind not in _PLAIN:
        raise DataError(f"a {schema.kind} has no form in JSON here; use null, boolean, numbers, string, array or map")
    return _PLAIN[schema.kind]
