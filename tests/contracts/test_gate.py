"""The one door: what is accepted, refused with its bytes, and withheld, in JSON and in Avro."""

import json
from typing import Any

import pytest

from upnext.contracts.avro_body import encode_single_object
from upnext.contracts.families import FAMILY_OF_ACTION, REGISTRY
from upnext.contracts.gate import GATE_VERSION, Admitted, Refused, admit_events, admit_items, admit_users
from upnext.domain.event import ACTIONS, Event, Item, User

NOW_MS = 1_760_000_000_000
CLICK = {"event_id": "e1", "action": "click", "user_id": "u1", "item_id": "i1", "timestamp_ms": NOW_MS - 1000}


def events(body: bytes, content_type: str = "application/json", **more: Any) -> Admitted[Event]:
    return admit_events(body, content_type, now_ms=NOW_MS, event_id=lambda: "made", **more)


def in_json(**changes: Any) -> bytes:
    return json.dumps({**CLICK, **changes}).encode()


def in_avro(**changes: Any) -> bytes:
    record = {**CLICK, **changes}
    return encode_single_object(record, REGISTRY.latest(FAMILY_OF_ACTION.get(record["action"], "interaction")))


def only_refusal(admitted: Admitted[Any]) -> Refused:
    assert not admitted.records
    assert admitted.withheld == 0
    (refused,) = admitted.refused
    return refused


@pytest.mark.parametrize("action", ACTIONS)
def test_json_and_avro_become_the_same_event(action: str) -> None:
    full = {
        "action": action, "session_id": "s1", "request_id": "r1", "value": 2.5, "query": "tea", "tenant": "shop",
        "producer": "web/7", "schema_version": 1,
        "context": {
            "device": "tv", "position": 3, "share": 0.5, "new": True, "none": None, "tags": ["a", 1, None, 1.5]
        },
    }  # fmt: skip
    (from_json,) = events(in_json(**full), tenant="shop").records
    (from_avro,) = events(in_avro(**full), "avro/binary", tenant="shop").records
    assert from_json == from_avro
    assert from_json == Event(
        event_id="e1", timestamp_ms=NOW_MS - 1000, user_id="u1", item_id="i1", **{**full, "action": action}
    )


def test_what_is_left_out_is_filled_in_alike() -> None:
    wire = {"action": "app_open", "user_id": "u"}
    (from_json,) = events(json.dumps(wire).encode(), tenant="shop").records
    (from_avro,) = events(encode_single_object(wire, REGISTRY.latest("app")), "avro/binary", tenant="shop").records
    assert from_json == from_avro
    assert (from_json.event_id, from_json.timestamp_ms, from_json.tenant) == ("made", NOW_MS, "shop")


def test_items_and_users_come_either_way_too() -> None:
    tea = {
        "item_id": "tea", "title": "Tea", "genres": ["hot"], "text": "leaves", "published_ms": -5, "price": 2.5,
        "regions": ["eu"], "available": False, "promoted": True, "attributes": {"cups": [1, 2]}, "blocked": True,
    }  # fmt: skip
    ann = {"user_id": "ann", "attributes": {"age": 30, "country": "fr"}}
    item = Item(**{**tea, "genres": ("hot",), "regions": ("eu",)})
    assert admit_items(json.dumps({"items": [tea]}).encode(), "").records == [item]
    assert admit_items(encode_single_object(tea, REGISTRY.latest("item")), "").records == [item]
    assert admit_users(json.dumps([ann]).encode(), "").records == [User(**ann)]
    assert admit_users(encode_single_object(ann, REGISTRY.latest("user")), "").records == [User(**ann)]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "text/plain", "", "application/x-www-form-urlencoded", "x"],
)
def test_json_is_known_by_its_first_byte_whatever_it_is_called(content_type: str) -> None:
    assert len(events(b" \n" + in_json(), content_type).records) == 1
    assert len(events(b"[" + in_json() + b"]", content_type).records) == 1


@pytest.mark.parametrize("content_type", ["avro/binary", "application/avro", "application/octet-stream", ""])
def test_avro_messages_follow_one_another_in_a_body(content_type: str) -> None:
    body = b"".join(in_avro(event_id=f"e{number}") for number in range(5))
    assert [event.event_id for event in events(body, content_type).records] == ["e0", "e1", "e2", "e3", "e4"]


@pytest.mark.parametrize(
    ("body", "content_type", "reason", "told"),
    [
        (in_json(), "application/x-protobuf", "unsupported_encoding", "Protobuf by its content type; send JSON"),
        (in_json(), "application/vnd.google.protobuf; x=1", "unsupported_encoding", "Avro single-object encoding"),
        (b"\x0a\x05hello\x10\x01", "application/json", "unsupported_encoding", "neither JSON nor Avro; send JSON"),
        (b"\x00\x00\x00\x00\x07" + in_avro()[10:], "", "confluent_framing", "schema id 7 of a Confluent registry"),
        (b"\x00\x00\x00\x00\x07" + in_avro()[10:], "avro/binary", "confluent_framing", "C3 01"),
        (b"Obj\x01\x04", "avro/binary", "unsupported_encoding", "container file"),
        (in_json(), "avro/binary", "unsupported_encoding", "send JSON (application/json)"),
        (b"action=click&user_id=u", "application/x-www-form-urlencoded", "malformed_json", "send what a JSON library"),
        (b"", "application/json", "malformed_json", "not JSON"),
        (b' {"events": 5}', "application/json", "wrong_type", "$.events"),
        (b'{"events": [1, }', "application/json", "malformed_json", "not JSON"),
    ],
)
def test_other_encodings_are_refused_with_what_to_send(body: bytes, content_type: str, reason: str, told: str) -> None:
    refused = only_refusal(events(body, content_type))
    assert (refused.error.reason, refused.raw, refused.index) == (reason, body, 0)
    assert told in str(refused.error)


def test_refused_elements_come_with_exactly_their_bytes() -> None:
    odd = b'{ "action" : "click",\t"user_id":"u", "producer":"tv/3" }'  # an item is missing
    wrong = b'{"action":"click","user_id":5,"item_id":"i","producer":"web"}'
    for parts in ([in_json(), odd, in_json(), wrong], [in_json(), odd, in_json(), in_json(user_id="")]):
        admitted = events(b'{"events": [ %s\n]}' % b" ,\n ".join(parts))
        assert len(admitted.records) == 2
        first, second = admitted.refused
        assert (first.index, first.raw, first.schema, first.producer) == (1, odd, "interaction/1", "tv/3")
        assert (second.index, second.raw) == (3, parts[3])
        assert (first.error.path, second.error.path) == ("$.events[1].item_id", "$.events[3].user_id")
        assert str(first.error).startswith("$.events[1].item_id is missing")


def test_refused_messages_come_with_exactly_their_bytes() -> None:
    parts = [in_avro(), in_avro(item_id="", producer="tv/3"), in_avro(event_id="e3")]
    admitted = events(b"".join(parts), "avro/binary")
    assert [event.event_id for event in admitted.records] == ["e1", "e3"]
    (refused,) = admitted.refused
    assert (refused.index, refused.raw, refused.schema, refused.producer) == (1, parts[1], "interaction/1", "tv/3")
    assert (refused.error.reason, refused.error.path) == ("empty_id", "$[1].item_id")
    assert only_refusal(events(parts[1], "avro/binary")).error.path == "$.item_id"


def test_what_follows_an_unreadable_message_is_kept_whole() -> None:
    good, later = in_avro(), in_avro(event_id="e2")
    torn = good[:10] + b"\x02"
    admitted = events(good + torn + later, "avro/binary")
    assert len(admitted.records) == 1
    (refused,) = admitted.refused
    assert (refused.index, refused.raw, refused.error.path) == (1, torn + later, "$[1]")
    assert refused.error.reason == "malformed_avro"


def test_what_follows_an_unreadable_message_is_not_kept_when_some_user_does_not_consent() -> None:
    torn = in_avro()[:10] + b"\x02"
    for later in (in_avro(consent=False), in_avro() + in_avro(consent=False), in_avro()[:10] * 1_001):
        assert only_refusal(events(torn + later, "avro/binary")).raw == b""
    unknown = b"\xc3\x01" + b"\x12" * 8
    assert only_refusal(events(unknown + in_avro(consent=False), "avro/binary")).raw == b""
    assert only_refusal(events(unknown + in_avro(), "avro/binary")).raw == unknown + in_avro()


def test_an_unknown_fingerprint_is_named() -> None:
    refused = only_refusal(events(b"\xc3\x01" + b"\x12" * 8 + b"\x02", "avro/binary"))
    assert refused.error.reason == "unknown_schema"
    assert "12" * 8 in str(refused.error)
    assert "interaction/1 " + REGISTRY.latest("interaction").fingerprint.hex() in str(refused.error)


def test_a_record_of_another_kind_or_version_is_a_wrong_schema() -> None:
    item = encode_single_object({"item_id": "i"}, REGISTRY.latest("item"))
    search_as_interaction = encode_single_object({**CLICK, "action": "search"}, REGISTRY.latest("interaction"))
    for body in (item, search_as_interaction, in_avro(schema_version=2)):
        assert only_refusal(events(body, "avro/binary")).error.reason == "wrong_schema"
    assert only_refusal(admit_items(in_avro(), "avro/binary")).error.reason == "wrong_schema"


def test_a_json_schema_newer_than_known_is_unknown() -> None:
    for admitted in (
        events(in_json(schema_version=2)),
        admit_items(b'{"item_id":"i","schema_version":2}', ""),
        admit_users(b'{"user_id":"u","schema_version":2}', ""),
    ):
        refused = only_refusal(admitted)
        assert refused.error.reason == "unknown_schema"
        assert refused.schema.endswith("/2")


@pytest.mark.parametrize("make", [in_json, in_avro])
def test_a_record_of_another_tenant_is_refused(make: Any) -> None:
    assert events(make(tenant="shop"), tenant="shop").records[0].tenant == "shop"
    assert only_refusal(events(make(tenant="shop"))).error.reason == "wrong_tenant"
    assert only_refusal(events(make(tenant="default"), tenant="shop")).error.reason == "wrong_tenant"
    assert only_refusal(events(make(tenant="../shop"), tenant="shop")).error.reason == "bad_tenant"


def test_items_and_users_of_another_tenant_are_refused() -> None:
    for admitted in (
        admit_items(b'{"item_id":"i","tenant":"a"}', "", tenant="b"),
        admit_users(b'{"user_id":"u","tenant":"a"}', "", tenant="b"),
    ):
        assert only_refusal(admitted).error.reason == "wrong_tenant"


@pytest.mark.parametrize("make", [in_json, in_avro])
def test_events_without_consent_are_counted_and_nothing_else(make: Any) -> None:
    admitted = events(make(consent=False))
    assert (admitted.records, admitted.refused, admitted.withheld) == ([], [], 1)
    # Refused ones leave no bytes behind.
    refused = only_refusal(events(make(consent=False, item_id="")))
    assert (refused.raw, refused.error.reason, refused.schema) == (b"", "empty_id", "interaction/1")


@pytest.mark.parametrize(
    "body",
    [
        b'[{"action":"click", "consent" : false, ',
        b"{'action': 'click', 'consent': False}",
        b'{"consent": "false", "action": "click"}',
        b'{"consent": 0, "action": "click"}',
        b'{"action": "clik", "user_id": "u", "conse\\u006et": false}',
        b"action=click&consent=false",
        b'{"consent":',
    ],
)
def test_what_does_not_say_that_its_user_consents_leaves_no_bytes(body: bytes) -> None:
    assert only_refusal(events(body)).raw == b""


def test_what_says_so_or_says_nothing_is_kept() -> None:
    for body in (
        b'{"action":"clik","consent":true}',
        b'{"action":"clik"}',
        b'[{"consent": true, ',
        b"{'consent': True",
    ):
        assert only_refusal(events(body)).raw == body


def test_an_empty_list_holds_nothing() -> None:
    for body in (b"[]", b'{"events":[]}'):
        assert events(body) == Admitted([], [], 0)


def test_the_version_of_the_gate_follows_its_schemas() -> None:
    assert GATE_VERSION.endswith(REGISTRY.digest)
