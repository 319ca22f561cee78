"""Schemas by name and fingerprint, their agreement with the records of the product, and evolution."""

import json
import re
from pathlib import Path
from typing import Any

import avro.schema
import pytest

from upnext.contracts.avro_body import encode_single_object, read_message
from upnext.contracts.compatibility import check
from upnext.contracts.families import FAMILY_OF_ACTION, REGISTRY, EventOnWire, ItemOnWire, UserOnWire, event_families
from upnext.contracts.registry import Registry, Schema, load_registry
from upnext.contracts.wire import wire_struct
from upnext.domain.event import ACTIONS, NEEDS_ITEM, Event, Item, User
from upnext.errors import DataError

RECORD_FIELDS = {"producer", "schema_version"}  # of items and users, read by the gate and not kept


def schema_of(text: Any, family: str = "probe", version: int = 1) -> Schema:
    from upnext.contracts.avro_types import normalized

    return Schema(family, version, json.dumps(text), normalized(text, family))


def test_fingerprints_are_those_of_the_standard() -> None:
    # CRC-64-AVRO of "null" and "string", from the test vectors that come with the standard.
    assert schema_of("null").fingerprint == (7195948357588979594).to_bytes(8, "little")
    assert schema_of("string").fingerprint == ((-8142146995180207161) % 2**64).to_bytes(8, "little")


def test_fingerprints_agree_with_apache_avro() -> None:
    for schema in REGISTRY.schemas:
        # Its canonical form leaves a logical type as {"type": "long"}, where the standard says "long".
        text = re.sub(r'\{"type": "long", "logicalType": "timestamp-millis"\}', '"long"', schema.text)
        assert bytes(avro.schema.parse(text).fingerprint("CRC-64-AVRO")) == schema.fingerprint


def test_every_field_of_the_records_is_in_the_schemas_and_no_other() -> None:
    families = [{field.name for field in schema.type.fields} for schema in event_families(REGISTRY)]
    assert set.union(*families) == set(Event.__struct_fields__)
    for names in families:
        assert names >= {"event_id", "action", "tenant", "consent", "producer", "schema_version"}
    for family, record in (("item", Item), ("user", User)):
        names = {field.name for field in REGISTRY.latest(family).type.fields}
        assert names == set(record.__struct_fields__) | RECORD_FIELDS


def test_what_json_may_say_follows_from_the_schemas() -> None:
    assert set(EventOnWire.__struct_fields__) == set(Event.__struct_fields__)
    assert set(ItemOnWire.__struct_fields__) == set(Item.__struct_fields__) | RECORD_FIELDS
    assert set(UserOnWire.__struct_fields__) == set(User.__struct_fields__) | RECORD_FIELDS
    wire = EventOnWire()
    assert (wire.consent, wire.producer, wire.schema_version, wire.item_id) == (True, "", 1, None)  # type: ignore[attr-defined]


def test_every_action_has_one_family_which_needs_an_item_when_the_action_does() -> None:
    assert sorted(FAMILY_OF_ACTION) == sorted(ACTIONS)
    assert sum(len(schema.actions) for schema in event_families(REGISTRY)) == len(ACTIONS)
    for schema in event_families(REGISTRY):
        (item,) = [field.type for field in schema.type.fields if field.name == "item_id"]
        assert {action in NEEDS_ITEM for action in schema.actions} == {item.kind == "string"}
        action = next(each for each in schema.avro["fields"] if each["name"] == "action")
        assert all(name in action["doc"] for name in schema.actions)


def test_every_field_is_documented() -> None:
    for schema in REGISTRY.schemas:
        assert schema.avro["doc"]
        assert all(len(field["doc"]) > 10 for field in schema.avro["fields"])


def test_every_version_reads_every_older_one() -> None:
    for schema in REGISTRY.schemas:
        for older in range(1, schema.version):
            assert check(REGISTRY.get(schema.family, older).type, schema.type, "backward") == []


def write(folder: Path, family: str, version: int, *fields: dict[str, Any], actions: tuple[str, ...] = ()) -> None:
    record = {"type": "record", "name": family.title(), "actions": list(actions), "fields": list(fields)}
    (folder / family).mkdir(exist_ok=True)
    (folder / family / f"{version}.avsc").write_text(json.dumps(record))


def test_a_reader_handles_every_older_version(tmp_path: Path) -> None:
    item, size = {"name": "item", "type": "string"}, {"name": "size", "type": "int"}
    wide = {"name": "size", "type": ["null", "double"], "default": None}
    renamed = {"name": "item_id", "type": "string", "aliases": ["item"]}
    write(tmp_path, "probe", 1, item)
    write(tmp_path, "probe", 2, item, size)
    write(tmp_path, "probe", 10, renamed, wide)
    registry = load_registry(tmp_path)
    body = b"".join(
        encode_single_object(record, registry.get("probe", version))
        for version, record in ((1, {"item": "a"}), (2, {"item": "b", "size": 3}), (10, {"item_id": "c", "size": 0.5}))
    )
    records, at = [], 0
    while at < len(body):
        message = read_message(body, at, registry)
        records.append(message.record)
        at = message.end
    assert records == [{"item_id": "a", "size": None}, {"item_id": "b", "size": 3.0}, {"item_id": "c", "size": 0.5}]
    assert registry.latest("probe").version == 10


def test_two_versions_that_read_the_same_bytes_are_one(tmp_path: Path) -> None:
    write(tmp_path, "probe", 1, {"name": "a", "type": "string"})
    write(tmp_path, "probe", 2, {"name": "a", "type": "string", "default": "x", "doc": "new words"})
    with pytest.raises(DataError, match="probe/2 has the fingerprint of probe/1"):
        load_registry(tmp_path)


def test_the_digest_changes_with_actions_and_defaults_and_not_with_documentation(tmp_path: Path) -> None:
    digests = []
    for field, actions in (
        ({"name": "a", "type": "string"}, ("view",)),
        ({"name": "a", "type": "string", "doc": "words"}, ("view",)),
        ({"name": "a", "type": "string"}, ("view", "click")),
        ({"name": "a", "type": "string", "default": ""}, ("view",)),
    ):
        write(tmp_path, "probe", 1, field, actions=actions)
        digests.append(load_registry(tmp_path).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("text", ["", "{", '{"type": "recod", "name": "A"}', '{"type": "record"}', "5", "[" * 10_000])
def test_a_file_that_is_no_schema_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "1.avsc").write_text(text)
    with pytest.raises(DataError, match="1"):
        load_registry(tmp_path)


def test_a_file_not_named_after_a_version_is_named(tmp_path: Path) -> None:
    write(tmp_path, "probe", 1, {"name": "a", "type": "string"})
    (tmp_path / "probe" / "1.avsc").rename(tmp_path / "probe" / "new.avsc")
    with pytest.raises(DataError, match="not named after a version"):
        load_registry(tmp_path)


def test_what_is_not_there_is_answered_with_what_is() -> None:
    with pytest.raises(DataError, match="known are app, impression, interaction"):
        REGISTRY.latest("clicks")
    with pytest.raises(DataError, match="newest of item is version 1"):
        REGISTRY.get("item", 2)
    assert REGISTRY.by_fingerprint(b"12345678") is None


def test_families_must_agree_on_a_field_of_one_name() -> None:
    record = {"type": "record", "name": "A", "fields": [{"name": "a", "type": "string"}]}
    other = {"type": "record", "name": "B", "fields": [{"name": "a", "type": "long"}]}
    with pytest.raises(DataError, match="a of other/1"):
        wire_struct("Both", [schema_of(record), schema_of(other, "other")])
    optional = {"type": "record", "name": "B", "fields": [{"name": "a", "type": ["null", "string"]}]}
    assert wire_struct("Both", [schema_of(record), schema_of(optional)]).__struct_fields__ == ("a",)


def test_a_registry_knows_its_schemas_in_order() -> None:
    names = [schema.name for schema in REGISTRY.schemas]
    assert names == sorted(names)
    assert isinstance(REGISTRY, Registry)
