"""Which schema may follow which: the rules one by one, and agreement with Apache's checker on generated schemas."""

from typing import Any

import avro.compatibility
import avro.schema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnext.contracts.avro_types import type_of
from upnext.contracts.compatibility import Problem, check


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def record(*fields: dict[str, Any], name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F") -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def mapping(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


def problems(reader: Any, writer: Any) -> list[Problem]:
    return check(type_of(writer, "old"), type_of(reader, "new"), "backward")


A = field("a", "string")
NODE = record(field("next", ["null", "Node"]), field("value", "int"), name="Node")
READS = [
    ("long", "int"), ("float", "int"), ("double", "int"), ("float", "long"), ("double", "long"), ("double", "float"),
    ("string", "bytes"), ("bytes", "string"), ("int", "int"), ("null", "null"),
    (["null", "string"], "string"), (["null", "double"], "int"), ("string", ["string"]), ("long", ["int", "long"]),
    (["null", "string", "int"], ["string", "null"]),
    (array("long"), array("int")), (mapping(["null", "int"]), mapping("int")),
    (record(A, field("b", "int", default=1)), record(A)), (record(), record(A)),
    (record(field("b", "string", aliases=["a"])), record(A)),
    (record(A, name="New", aliases=["R"]), record(A)), (record(A, name="y.R"), record(A, name="x.R")),
    (enum("A", "B"), enum("A")), (enum("A", default="A"), enum("A", "B")), (fixed(4), fixed(4)),
    (record(field("next", ["null", "Node"]), field("value", "long"), name="Node"), NODE), (NODE, NODE),
    ([record(A, name="X"), record(name="Y")], record(A, name="X")),
]  # fmt: skip
DOES_NOT_READ = [
    ("int", "long", "$"), ("float", "double", "$"), ("int", "float", "$"), ("string", "int", "$"),
    ("boolean", "int", "$"), ("string", "null", "$"), ("string", ["null", "string"], "$"),
    (["null", "int"], "long", "$"),
    (array("int"), array("long"), "$[]"), (mapping("int"), mapping("long"), "${}"), (array("int"), mapping("int"), "$"),
    (record(A, field("b", "int")), record(A), "$.b"), (record(field("a", "int")), record(A), "$.a"),
    (record(field("b", "string")), record(A), "$.b"), (record(A, name="New"), record(A), "$"),
    (record(A, name="New", aliases=["other.R"]), record(A), "$"),
    (enum("A"), enum("A", "B"), "$"), (fixed(4), fixed(8), "$"), (enum("A", name="X"), enum("A"), "$"),
    (record(field("m", mapping(array("int")))), record(field("m", mapping(array("string")))), "$.m{}[]"),
    (NODE, record(field("next", ["null", "Node"]), field("value", "long"), name="Node"), "$.value"),
    (["null", record(A, field("b", "int"))], ["null", record(A)], "$.b"),
    (fixed(4, "G"), fixed(4), "$"),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "writer"), READS)
def test_a_reader_takes_what_the_standard_lets_it(reader: Any, writer: Any) -> None:
    assert problems(reader, writer) == []


@pytest.mark.parametrize(("reader", "writer", "path"), DOES_NOT_READ)
def test_what_cannot_be_read_is_told_with_its_place_and_what_to_do(reader: Any, writer: Any, path: str) -> None:
    (problem, *_) = problems(reader, writer)
    assert problem.path == path
    assert problem.what
    assert problem.advice


def test_the_mode_says_who_reads_whom() -> None:
    old, new = type_of(record(A), "old"), type_of(record(A, field("b", "int")), "new")
    # The new reader needs b; the old one does not care.
    assert [problem.path for problem in check(old, new, "backward")] == ["$.b"]
    assert check(old, new, "forward") == []
    assert [problem.path for problem in check(old, new, "full")] == ["$.b"]
    assert check(new, old, "backward") == []
    assert [problem.path for problem in check(new, old, "forward")] == ["$.b"]
    assert check(old, old, "full") == []


def test_every_problem_is_told_once() -> None:
    shared = record(field("x", "int"), name="S")
    reader = record(field("a", shared), field("b", "S"), field("c", "int"))
    writer = record(field("a", record(field("x", "string"), name="S")), field("b", "S"), field("c", "string"))
    assert [problem.path for problem in problems(reader, writer)] == ["$.a.x", "$.c"]


def test_types_that_contain_each_other_come_to_an_end() -> None:
    def pair(kind: str) -> dict[str, Any]:
        inner = record(field("back", ["null", "Outer"]), field("leaf", kind), name="Inner")
        return record(field("inner", ["null", inner]), name="Outer")

    assert problems(pair("long"), pair("int")) == []
    assert [problem.path for problem in problems(pair("int"), pair("long"))] == ["$.inner.leaf"]


def test_a_branch_that_was_not_taken_proves_nothing_of_the_types_in_it() -> None:
    needy = record(field("x", "int"), name="I")
    branches = [record(field("i", needy), name="P", aliases=["W"]), record(name="Q", aliases=["W"])]
    written = record(field("i", record(name="I")), name="W")
    reader, writer = record(field("u", branches), field("v", "I")), record(field("u", written), field("v", "I"))
    assert [problem.path for problem in problems(reader, writer)] == ["$.v.x"]


PRIMITIVES = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
DEFAULTS = {
    "null": None, "boolean": True, "int": 1, "long": 1, "float": 1.0, "double": 1.0, "bytes": "x", "string": "x",
}  # fmt: skip
NAMES = st.sampled_from("abc")


@st.composite
def records(draw: st.DrawFn, inner: Any) -> dict[str, Any]:
    fields = []
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        kind = draw(inner)
        more: dict[str, Any] = {}
        if isinstance(kind, str) and draw(st.booleans()):
            more["default"] = DEFAULTS[kind]
        if draw(st.integers(0, 3)) == 0:
            more["aliases"] = [draw(NAMES)]
        fields.append(field(name, kind, **more))
    return record(*fields, name=draw(st.sampled_from("RS")))


@st.composite
def enums(draw: st.DrawFn) -> dict[str, Any]:
    symbols = draw(st.lists(st.sampled_from("ABC"), min_size=1, unique=True))
    more = {"default": draw(st.sampled_from(symbols))} if draw(st.booleans()) else {}
    return enum(*symbols, **more)


def kind_of(schema: Any) -> str:
    return schema if isinstance(schema, str) else schema["type"]


def unions(inner: Any) -> Any:
    return st.lists(inner.filter(lambda each: not isinstance(each, list)), min_size=1, max_size=3, unique_by=kind_of)


LEAVES = PRIMITIVES | enums() | st.builds(fixed, st.sampled_from([2, 4]))
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.builds(array, inner) | st.builds(mapping, inner) | unions(inner) | records(inner),
    max_leaves=6,
)


def theirs(reader: Any, writer: Any) -> bool:
    def parsed(schema: Any) -> Any:
        return avro.schema.parse(msgspec.json.encode(schema).decode())

    result = avro.compatibility.ReaderWriterCompatibilityChecker().get_compatibility(parsed(reader), parsed(writer))
    return result.compatibility is avro.compatibility.SchemaCompatibilityType.compatible


def unique_names(schema: Any, taken: set[str]) -> bool:
    """Whether no name is defined twice, which Avro does not allow."""
    if isinstance(schema, list):
        return all(unique_names(each, taken) for each in schema)
    if isinstance(schema, str):
        return True
    if "name" in schema:
        if schema["name"] in taken:
            return False
        taken.add(schema["name"])
    parts = [each["type"] for each in schema.get("fields", ())] + [
        schema[key] for key in ("items", "values") if key in schema
    ]
    return all(unique_names(each, taken) for each in parts)


VALID = SCHEMAS.filter(lambda schema: unique_names(schema, set()))


@settings(max_examples=150, deadline=None)
@given(VALID, VALID)
def test_verdicts_agree_with_apache_avro_on_any_two_schemas(reader: Any, writer: Any) -> None:
    assert (problems(reader, writer) == []) == theirs(reader, writer)


@settings(max_examples=120, deadline=None)
@given(VALID, st.data())
def test_verdicts_agree_with_apache_avro_on_two_that_are_nearly_the_same(schema: Any, data: st.DataObject) -> None:
    changed = mutated(schema, data.draw)
    if unique_names(changed, set()):
        assert (problems(schema, changed) == []) == theirs(schema, changed)
        assert (problems(changed, schema) == []) == theirs(changed, schema)


def mutated(schema: Any, draw: Any) -> Any:
    """The same with some leaf, field or symbol changed."""
    if isinstance(schema, str):
        return draw(st.just(schema) | PRIMITIVES)
    if isinstance(schema, list):
        kinds = [mutated(each, draw) for each in schema]
        return kinds if len({kind_of(kind) for kind in kinds}) == len(kinds) else schema
    if schema["type"] == "record":
        kept = [dict(each) for each in schema["fields"] if draw(st.integers(0, 4))]
        for each in kept:
            if "default" not in each:
                each["type"] = mutated(each["type"], draw)
        return {**schema, "fields": kept}
    if schema["type"] in ("array", "map"):
        key = "items" if schema["type"] == "array" else "values"
        return {**schema, key: mutated(schema[key], draw)}
    return draw(st.just(schema) | enums() | LEAVES)


def test_an_alias_without_a_namespace_is_in_that_of_its_type() -> None:
    reader = record(A, name="New", namespace="shop", aliases=["Old"])
    assert problems(reader, record(A, name="Old", namespace="shop")) == []
    # Apache's checker compares the alias as it is written with the full name, and so finds none.
    assert not theirs(reader, record(A, name="Old", namespace="shop"))
    assert [problem.path for problem in problems(reader, record(A, name="Old", namespace="other"))] == ["$"]
