"""Avro's binary encoding: agreement with another reader, and hostile bytes."""

import io
import math
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnext.contracts.avro_body import MARKER, encode_single_object, read_message
from upnext.contracts.avro_decoder import compiled
from upnext.contracts.avro_types import type_of
from upnext.contracts.avro_values import MALFORMED
from upnext.contracts.families import REGISTRY
from upnext.errors import ContractError, DataError

INTERACTION = REGISTRY.latest("interaction")
CLICK = {"action": "click", "item_id": "i1", "user_id": "u1"}
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.none() | st.booleans() | INT64 | st.floats(allow_nan=False) | st.text(max_size=70)
EVENTS = st.fixed_dictionaries(
    {"action": st.text(max_size=70), "item_id": st.text(max_size=200), "schema_version": st.integers(-5, 2**31 - 1)},
    optional={
        "user_id": st.none() | st.text(),
        "timestamp_ms": st.none() | INT64,
        "value": st.none() | st.floats(allow_nan=False),
        "consent": st.booleans(),
        "context": st.dictionaries(st.text(max_size=9), SCALARS | st.lists(SCALARS, max_size=70), max_size=70),
    },
)


def varint(number: int) -> bytes:
    """Zig-zag, as many bytes as it takes."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def reading(schema: Any, data: bytes, reader: Any = None) -> tuple[Any, int]:
    return compiled(type_of(schema, "writer"), type_of(reader if reader is not None else schema, "reader"))(data, 0)


@settings(max_examples=80, deadline=None)
@given(EVENTS)
def test_a_message_reads_as_it_was_written_and_as_fastavro_reads_it(record: dict[str, Any]) -> None:
    message = encode_single_object(record, INTERACTION)
    read = read_message(message, 0, REGISTRY)
    bare = fastavro.parse_schema({"type": "record", "name": "R", "fields": _without_logical_types()})
    assert read.end == len(message)
    assert read.record == fastavro.schemaless_reader(io.BytesIO(message[10:]), bare, None)
    assert record.items() <= read.record.items()


def _without_logical_types() -> list[dict[str, Any]]:
    return [
        {**field, "type": ["null", "long"] if field["name"] == "timestamp_ms" else field["type"]}
        for field in INTERACTION.avro["fields"]
    ]


PAIRS = [
    ("int", "long", 7, 7),
    ("int", "double", 7, 7.0),
    ("long", "float", 7, 7.0),
    ("float", "double", 0.5, 0.5),
    ("string", "bytes", "é", "é".encode()),
    ("bytes", "string", b"ab", "ab"),
    ("string", ["null", "string"], "a", "a"),
    ("int", ["null", "double"], 3, 3.0),
    (["null", "string"], "string", "a", "a"),
    ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, [1, 2], [1, 2]),
    ({"type": "map", "values": "int"}, {"type": "map", "values": ["null", "long"]}, {"a": 1}, {"a": 1}),
    ({"type": "fixed", "name": "F", "size": 2}, {"type": "fixed", "name": "F", "size": 2}, b"ab", b"ab"),
    (
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        {"type": "enum", "name": "E", "symbols": ["A", "C"], "default": "C"},
        "B",
        "C",
    ),
    (
        {"type": "record", "name": "R", "fields": [{"name": "gone", "type": "string"}, {"name": "old", "type": "int"}]},
        {
            "type": "record",
            "name": "R",
            "fields": [
                {"name": "new", "type": "long", "aliases": ["old"]},
                {"name": "added", "type": ["null", "string"], "default": None},
                {"name": "list", "type": {"type": "array", "items": "int"}, "default": [1]},
                {"name": "raw", "type": "bytes", "default": "\u00ff"},
            ],
        },
        {"gone": "x", "old": 5},
        {"new": 5, "added": None, "list": [1], "raw": b"\xff"},
    ),
]


@pytest.mark.parametrize(("writer", "reader", "written", "read"), PAIRS)
def test_an_older_writer_is_read_as_the_standard_resolves_it(writer: Any, reader: Any, written: Any, read: Any) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), written)
    assert reading(writer, out.getvalue(), reader) == (read, len(out.getvalue()))
    with io.BytesIO(out.getvalue()) as data:
        theirs = fastavro.schemaless_reader(data, fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    if isinstance(theirs, dict) and "raw" in theirs:
        theirs["raw"] = theirs["raw"].encode("latin-1")  # a default of bytes stays text there
    assert theirs == read


def test_a_default_that_is_a_list_is_not_shared() -> None:
    writer = {"type": "record", "name": "R", "fields": []}
    reader = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "a", "type": {"type": "array", "items": "int"}, "default": []}],
    }
    decode = compiled(type_of(writer, ""), type_of(reader, ""))
    decode(b"", 0)[0]["a"].append(1)
    assert decode(b"", 0)[0] == {"a": []}


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ("string", varint(2**40)),
        ("string", varint(2**63 - 1) + b"abc"),
        ("string", varint(-1) + b"abc"),
        ("string", varint(-(2**63)) + b"abc"),
        ("string", b"\x06ab"),
        ("string", b"\x02\xff"),
        ("string", b"\x06\xed\xa0\x80"),
        ("bytes", varint(1_000) + b"x" * 999),
        ("long", b"\x80" * 10 + b"\x01"),
        ("long", b"\x80" * 10 + b"\x00"),
        ("long", b"\xff" * 9 + b"\x02"),
        ("long", b"\x80"),
        ("long", b""),
        ("int", varint(2**31)),
        ("boolean", b"\x02"),
        ("double", b"\x00" * 7),
        ("float", b"\x00" * 3),
        (["null", "string"], b"\x04\x02a"),
        (["null", "string"], b"\x03\x02a"),
        (["null", "string", "long"], b"\x06\x02a"),
        (["null", "string", "long"], b"\x05\x02a"),
        (["null", "string"], b"\x01"),
        (["null", "string"], varint(-2)),
        (["null", "string"], varint(10**6)),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x01"),
        ({"type": "fixed", "name": "F", "size": 9}, b"12345678"),
        ({"type": "array", "items": ["null", "long"]}, varint(2**62) + b"\x00" * 99),
        ({"type": "array", "items": "string"}, varint(101) + b"\x00" * 99),
        ({"type": "array", "items": "string"}, varint(-(2**62)) + varint(4) + b"\x00" * 99),
        ({"type": "array", "items": "string"}, varint(-1) + varint(2**40) + b"\x00\x00"),
        ({"type": "array", "items": "string"}, varint(-1) + varint(-1) + b"\x00\x00"),
        ({"type": "map", "values": "string"}, varint(-(2**63)) + varint(4) + b"\x00" * 99),
        ({"type": "map", "values": "string"}, varint(2**31) + b"\x02a\x02b"),
        ({"type": "map", "values": "string"}, varint(1) + b"\x02a\x02b"),
    ],
)
def test_hostile_bytes_are_malformed_at_once(schema: Any, data: bytes) -> None:
    with pytest.raises(MALFORMED):
        reading(schema, data)


def test_blocks_of_negative_count_carry_their_size_and_are_read() -> None:
    data = varint(-2) + varint(4) + b"\x02a\x02b" + varint(1) + b"\x02c" + b"\x00"
    assert reading({"type": "array", "items": "string"}, data) == (["a", "b", "c"], len(data))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": "null"},
        {"type": "map", "values": {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}}},
        {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}},
        {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]},
    ],
)
def test_schemas_that_have_no_bound_are_not_taken(schema: Any) -> None:
    with pytest.raises(DataError):
        compiled(type_of(schema, ""), type_of(schema, ""))


def test_every_cut_of_a_message_is_malformed() -> None:
    message = encode_single_object({**CLICK, "context": {"a": [1, "b"], "c": 0.5}}, INTERACTION)
    for end in range(len(message)):
        with pytest.raises(ContractError) as caught:
            read_message(message[:end], 0, REGISTRY)
        assert caught.value.reason == "malformed_avro"


def test_a_message_says_which_schema_it_is_by_fingerprint() -> None:
    message = encode_single_object(CLICK, INTERACTION)
    assert message[:10] == MARKER + INTERACTION.fingerprint
    assert read_message(b"xx" + message, 2, REGISTRY).schema is INTERACTION


@pytest.mark.parametrize(
    "record", [{}, {**CLICK, "colour": "red"}, {**CLICK, "item_id": None}, {**CLICK, "value": "x"}]
)
def test_a_record_that_does_not_fit_is_not_encoded(record: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="does not fit interaction/1"):
        encode_single_object(record, INTERACTION)


def test_numbers_that_are_not_finite_can_be_read_so_that_the_gate_can_refuse_them() -> None:
    read = read_message(encode_single_object({**CLICK, "value": math.nan}, INTERACTION), 0, REGISTRY)
    assert math.isnan(read.record["value"])


@pytest.mark.parametrize("schema", [{"type": "array", "items": "string"}, {"type": "map", "values": "long"}])
@pytest.mark.parametrize("count", [varint(2**62), varint(-(2**62)) + varint(9)])
def test_a_count_that_cannot_be_true_is_refused_before_the_first_entry_is_read(schema: Any, count: bytes) -> None:
    with pytest.raises(ValueError, match=r"claims \d+ entries, 9 bytes are left"):
        reading(schema, count + b"\x02a\x02b\x02c\x02d\x02")


def test_of_a_union_the_branch_of_the_writers_own_kind_is_read_before_one_it_is_promoted_to() -> None:
    assert reading("string", b"\x02a", ["bytes", "string"]) == ("a", 2)
    assert reading("bytes", b"\x02a", ["null", "string"]) == ("a", 2)
