"""An Avro schema as a small graph of types, and who may read whom by name; knows no bytes and no family of events."""

import json
from dataclasses import dataclass, field
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from upnext.errors import DataError

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
# What a reader's type takes beside its own kind (Avro 1.11, "Schema Resolution").
PROMOTED_FROM = {
    "long": ("int",),
    "float": ("int", "long"),
    "double": ("int", "long", "float"),
    "string": ("bytes",),
    "bytes": ("string",),
}
NO_DEFAULT: Any = object()


@dataclass(eq=False, slots=True)
class Type:
    """One type of a schema. `kind` is Avro's word for it, or `union`; what a kind does not have is empty."""

    kind: str
    name: str = ""  # full name of a record, enum or fixed
    aliases: tuple[str, ...] = ()  # full names
    fields: list["Field"] = field(default_factory=list)
    symbols: tuple[str, ...] = ()
    default: str | None = None  # of an enum
    size: int = 0  # of a fixed
    branches: list["Type"] = field(default_factory=list)  # of a union
    inner: "Type | None" = None  # items of an array, values of a map

    @property
    def word(self) -> str:
        """How a message speaks of it: `record Item`, `array`, `[null, string]`."""
        if self.kind == "union":
            return f"[{', '.join(branch.word for branch in self.branches)}]"
        return f"{self.kind} {short(self.name)}" if self.name else self.kind


@dataclass(eq=False, slots=True)
class Field:
    """One field of a record; `default` is JSON as the schema has it, or `NO_DEFAULT`."""

    name: str
    type: Type
    default: Any
    aliases: tuple[str, ...] = ()


def parse_json(text: str, source: str) -> Any:
    """The JSON of a schema file; raises `DataError` naming `source` when it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source} is not JSON ({error}); an Avro schema is JSON, see docs/contracts.md") from error


def normalized(schema: Any, source: str) -> Any:
    """A schema with full names throughout, as fastavro takes it; raises `DataError` when it breaks Avro's rules."""
    try:
        return fastavro.parse_schema(schema, _write_hint=False)
    except (
        SchemaParseException,
        UnknownType,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        raise DataError(f"{source} is not an Avro schema: {error or type(error).__name__}; mend it") from error


def type_of(schema: Any, source: str) -> Type:
    """The graph of types of a schema, given as JSON; recursive types point back at themselves."""
    return _built(normalized(schema, source), {})


def short(name: str) -> str:
    """A name without its namespace."""
    return name.rpartition(".")[2]


def names_agree(reader: Type, writer: Type) -> bool:
    """Whether two named types are one: by name without namespace, or by an alias of the reader."""
    return short(reader.name) == short(writer.name) or writer.name in reader.aliases


def writer_field(writer: Type, wanted: Field) -> Field | None:
    """The field of the writer's record that a reader's field is read from: by name, else by the reader's aliases."""
    for name in (wanted.name, *wanted.aliases):
        for each in writer.fields:
            if each.name == name:
                return each
    return None


def _built(schema: Any, names: dict[str, Type]) -> Type:
    if isinstance(schema, list):
        return Type("union", branches=[_built(branch, names) for branch in schema])
    if isinstance(schema, str):
        return names.get(schema) or Type(schema)
    kind = schema["type"]
    if not isinstance(kind, str):
        return _built(kind, names)
    if kind in ("array", "map"):
        return Type(kind, inner=_built(schema["items" if kind == "array" else "values"], names))
    if kind in ("record", "error", "enum", "fixed"):
        return _named(schema, names)
    return names.get(kind) or Type(kind)


def _named(schema: dict[str, Any], names: dict[str, Type]) -> Type:
    name = schema["name"]
    namespace = name.rpartition(".")[0]
    made = Type(
        "record" if schema["type"] == "error" else schema["type"],
        name=name,
        aliases=tuple(
            f"{namespace}.{alias}" if namespace and "." not in alias else alias for alias in schema.get("aliases", ())
        ),
        symbols=tuple(schema.get("symbols", ())),
        default=schema.get("default") if schema["type"] == "enum" else None,
        size=schema.get("size", 0),
    )
    names[name] = made  # before the fields, which may speak of it
    for each in schema.get("fields", ()):
        made.fields.append(
            Field(
                each["name"],
                _built(each["type"], names),
                each.get("default", NO_DEFAULT),
                tuple(each.get("aliases", ())),
            )
        )
    return made
