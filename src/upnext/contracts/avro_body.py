"""Avro's single-object encoding: messages that name their schema by fingerprint; knows nothing of what they mean.

A message is `C3 01`, the CRC-64-AVRO fingerprint of its schema in 8 bytes little-endian, and the record in Avro's
binary encoding (Avro 1.11, "Single-object encoding"). A body holds one message or several, one after the other.
"""

import io
from typing import Any, NamedTuple

import fastavro

from upnext.contracts.avro_values import MALFORMED
from upnext.contracts.registry import Registry, Schema
from upnext.errors import ContractError, DataError

MARKER = b"\xc3\x01"
_HEADER_BYTES = 10


class Message(NamedTuple):
    """One message of a body: its record as the newest version of its family has it, and the offset after it."""

    schema: Schema  # that it was written by
    record: dict[str, Any]
    end: int


def encode_single_object(record: dict[str, Any], schema: Schema) -> bytes:
    """A message, for producers in Python; fields left out take the schema's defaults.

    Raises `DataError` when the record does not fit the schema.
    """
    out = io.BytesIO()
    out.write(MARKER + schema.fingerprint)
    try:
        fastavro.schemaless_writer(out, schema.avro, record, strict_allow_default=True)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DataError(f"the record does not fit {schema.name}: {error}; see upnext contracts show") from error
    return out.getvalue()


def read_message(body: bytes, at: int, registry: Registry) -> Message:
    """The message that begins at offset `at`; raises `ContractError`, whatever the bytes."""
    if body[at : at + 2] != MARKER:
        raise ContractError(
            "malformed_avro",
            f"$ byte {at} does not begin a message with C3 01; send Avro single-object encoding, see docs/contracts.md",
        )
    mark = body[at + 2 : at + _HEADER_BYTES]
    schema = registry.by_fingerprint(mark)
    if schema is None:
        if len(mark) < 8:
            raise ContractError("malformed_avro", f"$ ends within the fingerprint at byte {at + 2}; send it whole")
        known = ", ".join(f"{each.name} {each.fingerprint.hex()}" for each in registry.schemas)
        raise ContractError(
            "unknown_schema",
            f"$ was written by a schema of fingerprint {mark.hex()}, which is not known here; use one of {known}",
        )
    try:
        record, end = registry.decoder(mark)(body, at + _HEADER_BYTES)
    except MALFORMED as error:
        what = "it ends too early" if isinstance(error, IndexError) else str(error)
        raise ContractError(
            "malformed_avro",
            f"$ byte {at} begins a message of {schema.name} that cannot be read: {what}; send it whole",
        ) from error
    return Message(schema, record, end)
