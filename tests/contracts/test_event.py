"""What the event contract accepts and refuses, field by field."""

import json
import math

import msgspec
import pytest

from upnext.contracts.event import check_event, decode_event, decode_events
from upnext.domain.event import ACTIONS, Event
from upnext.errors import ContractError

NOW_MS = 1_760_000_000_000
CLICK = {"event_id": "e1", "action": "click", "user_id": "u1", "item_id": "i1", "timestamp_ms": NOW_MS - 1000}


def body(**changes: object) -> bytes:
    fields = {**CLICK, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def refusal(raw: bytes) -> ContractError:
    with pytest.raises(ContractError) as caught:
        decode_event(raw, now_ms=NOW_MS)
    return caught.value


def test_every_field_of_the_wire_reaches_the_event() -> None:
    raw = body(
        session_id="s1", request_id="r1", value=2.5, query="tea", tenant="shop", consent=False, producer="web",
        context={"device": "tv", "position": 3, "tags": ["a", 1, None]},
    )  # fmt: skip
    assert decode_event(raw, now_ms=NOW_MS) == Event(
        event_id="e1", action="click", timestamp_ms=NOW_MS - 1000, user_id="u1", session_id="s1", item_id="i1",
        request_id="r1", value=2.5, query="tea", tenant="shop", consent=False, producer="web",
        context={"device": "tv", "position": 3, "tags": ["a", 1, None]},
    )  # fmt: skip


def test_a_missing_time_is_now_and_a_missing_id_is_made() -> None:
    raw = body(timestamp_ms=..., event_id=...)
    event = decode_event(raw, now_ms=NOW_MS, event_id=lambda: "made")
    assert (event.timestamp_ms, event.event_id) == (NOW_MS, "made")
    first, second = (decode_event(raw, now_ms=NOW_MS).event_id for _ in range(2))
    assert first != second
    assert len(first) == 32


def test_unknown_fields_are_ignored() -> None:
    assert decode_event(body(colour="red", nested={"a": [1]}), now_ms=NOW_MS).item_id == "i1"


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"action": ...}, "missing_action", "$.action"),
        ({"action": "clik"}, "unknown_action", "$.action"),
        ({"action": 5}, "wrong_type", "$.action"),
        ({"user_id": ...}, "missing_subject", "$"),
        ({"item_id": ...}, "missing_item", "$.item_id"),
        ({"action": "pause", "item_id": None}, "missing_item", "$.item_id"),
        ({"user_id": ""}, "empty_id", "$.user_id"),
        ({"session_id": ""}, "empty_id", "$.session_id"),
        ({"item_id": ""}, "empty_id", "$.item_id"),
        ({"event_id": ""}, "empty_id", "$.event_id"),
        ({"request_id": ""}, "empty_id", "$.request_id"),
        ({"tenant": ""}, "bad_tenant", "$.tenant"),
        ({"tenant": "a/b"}, "bad_tenant", "$.tenant"),
        ({"tenant": ".."}, "bad_tenant", "$.tenant"),
        ({"tenant": "x" * 65}, "bad_tenant", "$.tenant"),
        ({"tenant": "é"}, "bad_tenant", "$.tenant"),
        ({"tenant": "shop\n"}, "bad_tenant", "$.tenant"),
        ({"schema_version": 2}, "unknown_schema", "$.schema_version"),
        ({"schema_version": 0}, "unknown_schema", "$.schema_version"),
        ({"schema_version": 2**31}, "wrong_type", "$.schema_version"),
        ({"context": {"a": "x" * 16_384}}, "context_too_large", "$.context"),
        ({"context": {"x" * 16_385: 1}}, "context_too_large", "$.context"),
        ({"context": {"a": ["x" * 16_384]}}, "context_too_large", "$.context"),
        ({"context": {"a": [1] * 65}}, "too_many_entries", "$.context.a"),
        ({"item_id": "x" * 257}, "id_too_long", "$.item_id"),
        ({"item_id": "é" * 129}, "id_too_long", "$.item_id"),
        ({"producer": "x" * 257}, "id_too_long", "$.producer"),
        ({"query": "x" * 1025}, "text_too_long", "$.query"),
        ({"context": {str(key): 1 for key in range(65)}}, "too_many_entries", "$.context"),
        ({"context": {"a": {"b": 1}}}, "wrong_type", "$.context[...]"),
        ({"context": {"a": 2**70}}, "wrong_type", "$.context[...]"),
        ({"context": {"a": [[1]]}}, "wrong_type", "$.context[...][0]"),
        ({"consent": None}, "wrong_type", "$.consent"),
        ({"value": "much"}, "wrong_type", "$.value"),
        ({"timestamp_ms": 2**70}, "wrong_type", "$.timestamp_ms"),
        ({"timestamp_ms": 1_760_000_000}, "timestamp_in_seconds", "$.timestamp_ms"),
        ({"timestamp_ms": 1_760_000_000_000_000}, "timestamp_in_microseconds", "$.timestamp_ms"),
        ({"timestamp_ms": 1_760_000_000_000_000_000}, "timestamp_in_nanoseconds", "$.timestamp_ms"),
        ({"timestamp_ms": 0}, "timestamp_too_old", "$.timestamp_ms"),
        ({"timestamp_ms": -5}, "timestamp_too_old", "$.timestamp_ms"),
        ({"timestamp_ms": NOW_MS + 300_001}, "timestamp_in_future", "$.timestamp_ms"),
    ],
)  # fmt: skip
def test_a_broken_field_is_refused_with_its_reason_and_path(changes: dict, reason: str, path: str) -> None:
    error = refusal(body(**changes))
    assert (error.reason, error.path) == (reason, path)
    assert path == "$" or str(error).startswith(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"item_id": "x" * 256},
        {"item_id": "é" * 128},
        {"query": "x" * 1024},
        {"timestamp_ms": NOW_MS + 300_000},
        {"timestamp_ms": 828_124_615_000},
        {"user_id": None, "session_id": "s1"},
        {"action": "app_open", "item_id": None},
        {"context": {str(key): 1 for key in range(64)}},
        {"context": {"a": "x" * 16_383}},
        {"context": {"a": [1] * 64}},
        {"context": None, "tenant": None},
        {"tenant": "A-z_0.9" + "x" * 57},
        {"schema_version": 1},
    ],
)
def test_the_very_limit_is_accepted(changes: dict) -> None:
    assert isinstance(decode_event(body(**changes), now_ms=NOW_MS), Event)


def test_the_unit_of_a_wrong_timestamp_is_named_in_the_message() -> None:
    message = str(refusal(body(timestamp_ms=1_760_000_000)))
    assert message == "$.timestamp_ms 1760000000 is in seconds; send milliseconds since 1970-01-01 UTC"


def test_an_unknown_action_is_answered_with_those_that_exist() -> None:
    assert all(action in str(refusal(body(action="clik"))) for action in ACTIONS)


@pytest.mark.parametrize("raw", [b"", b"{", b"nonsense", b'{"action":"\xff"}', b'{"a":1} x', b'{"action":"\\ud800"}'])
def test_bytes_that_are_no_json_are_malformed(raw: bytes) -> None:
    assert refusal(raw).reason == "malformed_json"


@pytest.mark.parametrize("levels", [33, 500, 100_000])
@pytest.mark.parametrize("wrap", [b"%s", b"[%s]", b'{"events":[%s]}'])
def test_more_than_32_levels_are_too_deep_even_in_a_field_that_is_ignored(levels: int, wrap: bytes) -> None:
    deep = body()[:-1] + b',"x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    (error,) = decode_events(wrap % deep, now_ms=NOW_MS)
    assert isinstance(error, ContractError)
    assert error.reason == "too_deep"


@pytest.mark.parametrize("inner", [b"[" * 31 + b"]" * 31, b'["' + b"[" * 99 + b'"]', b'"\\"' + b"{" * 99 + b'"'])
def test_32_levels_are_not_and_brackets_in_text_are_none(inner: bytes) -> None:
    event = body(context={"a": [1], "b": [2]})[:-1] + b',"x":' + inner + b"}"
    assert len(decode_events(b'{"events":[%s]}' % b",".join([event] * 40), now_ms=NOW_MS)) == 40
    assert all(isinstance(each, Event) for each in decode_events(b"[%s,%s]" % (event, event), now_ms=NOW_MS))


def test_one_event_that_is_too_deep_is_refused_alone() -> None:
    deep = body()[:-1] + b',"x":' + b'{"a":' * 32 + b"1" + b"}" * 32 + b"}"
    first, second, third = decode_events(b"[%s,%s,%s]" % (body(), deep, body()), now_ms=NOW_MS)
    assert isinstance(first, Event)
    assert isinstance(third, Event)
    assert isinstance(second, ContractError)
    assert (second.reason, second.path) == ("too_deep", "$[1]")


def test_a_list_that_is_there_twice_is_refused_since_one_would_be_lost() -> None:
    (error,) = decode_events(b'{"events":[%s],"events":[%s]}' % (body(), body()), now_ms=NOW_MS)
    assert isinstance(error, ContractError)
    assert error.reason == "repeated_list"
    listed = decode_events(b'{"events":[%s]}' % body(context={"events": "events"}), now_ms=NOW_MS)
    assert all(isinstance(each, Event) for each in listed)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_wherever_it_comes_from(value: float) -> None:
    event = Event(event_id="e", action="click", timestamp_ms=NOW_MS, user_id="u", item_id="i", value=value)
    with pytest.raises(ContractError) as caught:
        check_event(event, now_ms=NOW_MS)
    assert caught.value.reason == "value_not_finite"
    for context in ({"a": value}, {"a": [1, value]}):
        event = Event(event_id="e", action="click", timestamp_ms=NOW_MS, user_id="u", item_id="i", context=context)
        with pytest.raises(ContractError) as caught:
            check_event(event, now_ms=NOW_MS)
        assert (caught.value.reason, caught.value.path) == ("value_not_finite", "$.context.a")


@pytest.mark.parametrize("wrap", [b"[%s]", b'{"events":[%s]}', b' \n {"sent_at": 5, "events": [%s]}'])
def test_many_events_come_as_an_array_or_under_events(wrap: bytes) -> None:
    raw = wrap % b",".join(body(item_id=f"i{number}") for number in range(3))
    events = decode_events(raw, now_ms=NOW_MS)
    assert [event.item_id for event in events if isinstance(event, Event)] == ["i0", "i1", "i2"]


@pytest.mark.parametrize(("wrap", "prefix"), [(b"[%s]", "$"), (b'{"events":[%s]}', "$.events")])
@pytest.mark.parametrize("broken", [{"item_id": ""}, {"item_id": 7}])
def test_one_broken_event_is_refused_alone_with_its_place(wrap: bytes, prefix: str, broken: dict) -> None:
    raw = wrap % b",".join([body(), body(**broken), body(), body(event_id="")])
    first, second, third, fourth = decode_events(raw, now_ms=NOW_MS)
    assert isinstance(first, Event)
    assert isinstance(third, Event)
    assert isinstance(second, ContractError)
    assert isinstance(fourth, ContractError)
    assert (second.path, fourth.path) == (f"{prefix}[1].item_id", f"{prefix}[3].event_id")
    assert str(second).startswith(second.path)


def test_a_single_object_is_a_list_of_one() -> None:
    (event,) = decode_events(body(), now_ms=NOW_MS)
    assert isinstance(event, Event)
    (error,) = decode_events(body(item_id=""), now_ms=NOW_MS)
    assert isinstance(error, ContractError)
    assert error.path == "$.item_id"


def test_the_word_events_inside_an_event_does_not_make_it_a_list() -> None:
    (event,) = decode_events(body(item_id='"events"', context={"a": "events"}), now_ms=NOW_MS)
    assert isinstance(event, Event)


@pytest.mark.parametrize("raw", [b"[", b'{"events": 5}', b'{"events": [}', b"[1", b"7", b'"x"', b"null"])
def test_a_body_that_cannot_be_read_is_one_rejection(raw: bytes) -> None:
    (error,) = decode_events(raw, now_ms=NOW_MS)
    assert isinstance(error, ContractError)


def test_an_accepted_event_can_always_be_stored() -> None:
    raw = body(context={"least": -(2**63), "most": 2**63 - 1}, value=1e308)
    event = decode_event(raw, now_ms=NOW_MS)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event
