"""The schemas of the contract, by family, version and fingerprint; knows no encoding of JSON and no single record."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fastavro.schema import fingerprint, to_parsing_canonical_form

from upnext.contracts.avro_decoder import compiled
from upnext.contracts.avro_types import Type, normalized, parse_json, type_of
from upnext.contracts.avro_values import Decode
from upnext.errors import DataError

SHIPPED = Path(__file__).parent / "schemas"


@dataclass(frozen=True, eq=False)
class Schema:
    """One version of one family: its file, and the JSON in it with full names."""

    family: str
    version: int
    text: str = field(repr=False)
    avro: Any = field(repr=False)

    @property
    def name(self) -> str:
        """`interaction/1`, as commands and dead letters write it."""
        return f"{self.family}/{self.version}"

    @cached_property
    def fingerprint(self) -> bytes:
        """CRC-64-AVRO of the parsing canonical form, 8 bytes little-endian: what a message begins with."""
        return bytes.fromhex(fingerprint(to_parsing_canonical_form(self.avro), "CRC-64-AVRO"))

    @cached_property
    def type(self) -> Type:
        """The graph of its types."""
        return type_of(self.avro, self.name)

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """The actions of a family of events, which the schema names beside its fields; none for other records."""
        return tuple(self.avro.get("actions", ()))


class Registry:
    """Schemas by name and fingerprint.

    Raises `DataError` when two versions have one fingerprint: they read the same bytes, so they are one version.
    """

    def __init__(self, schemas: Iterable[Schema]) -> None:
        self._by_name = {(schema.family, schema.version): schema for schema in schemas}
        self._by_fingerprint: dict[bytes, Schema] = {}
        self._latest: dict[str, Schema] = {}
        for schema in sorted(self._by_name.values(), key=lambda each: (each.family, each.version)):
            other = self._by_fingerprint.setdefault(schema.fingerprint, schema)
            if other is not schema:
                raise DataError(
                    f"{schema.name} has the fingerprint of {other.name}, since documentation, defaults and actions "
                    f"do not change how bytes are read; change {other.name} in place and remove {schema.name}"
                )
            self._latest[schema.family] = schema
        self._decoders = {
            mark: compiled(schema.type, self._latest[schema.family].type)
            for mark, schema in self._by_fingerprint.items()
        }

    @property
    def schemas(self) -> list[Schema]:
        """All, by family and version."""
        return list(self._by_fingerprint.values())

    @property
    def families(self) -> list[str]:
        return list(self._latest)

    def latest(self, family: str) -> Schema:
        """The newest version; raises `DataError` for an unknown family."""
        if family not in self._latest:
            raise DataError(f"there is no schema family {family!r}; known are {', '.join(self.families)}")
        return self._latest[family]

    def get(self, family: str, version: int) -> Schema:
        """Raises `DataError` for an unknown family or version."""
        schema = self._by_name.get((family, version))
        if schema is None:
            newest = self.latest(family).version
            raise DataError(f"there is no schema {family}/{version}; the newest of {family} is version {newest}")
        return schema

    def has(self, family: str, version: int) -> bool:
        return (family, version) in self._by_name

    def by_fingerprint(self, mark: bytes) -> Schema | None:
        """The schema whose fingerprint `mark` is, 8 bytes little-endian; None for an unknown one."""
        return self._by_fingerprint.get(mark)

    def decoder(self, mark: bytes) -> Decode:
        """Reads the bytes of a known fingerprint as the newest version of its family."""
        return self._decoders[mark]

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when any schema does, other than in its documentation."""
        told = [(schema.name, _undocumented(schema.avro)) for schema in self.schemas]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def load_registry(folder: Path = SHIPPED) -> Registry:
    """The schemas at `FOLDER/<family>/<version>.avsc`; raises `DataError` for a file that is no Avro schema."""
    schemas = []
    for path in sorted(folder.glob("*/*.avsc")):
        if not path.stem.isdecimal() or int(path.stem) < 1:
            raise DataError(f"{path} is not named after a version; name it as in {path.parent.name}/1.avsc")
        schemas.append(read_schema(path, path.parent.name, int(path.stem)))
    return Registry(schemas)


def read_schema(path: Path, family: str = "", version: int = 0) -> Schema:
    """The schema in a file; raises `DataError` when it cannot be read or is no Avro schema."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give an .avsc file") from error
    return Schema(family, version, text, normalized(parse_json(text, str(path)), str(path)))


def _undocumented(avro: Any) -> Any:
    if isinstance(avro, dict):
        return {key: _undocumented(value) for key, value in avro.items() if key != "doc"}
    return [_undocumented(each) for each in avro] if isinstance(avro, list) else avro
