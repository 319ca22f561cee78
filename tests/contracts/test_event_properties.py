"""Whatever the bytes, the event contract answers with an event or a rejection."""

import json

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from upnext.contracts.event import check_event, decode_event, decode_events
from upnext.contracts.item import decode_items
from upnext.domain.event import ACTIONS, Event, Item
from upnext.domain.identity import key_of
from upnext.errors import ContractError

NOW_MS = 1_760_000_000_000
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
MOMENTS = st.sampled_from([NOW_MS, NOW_MS // 1000, NOW_MS * 1000, NOW_MS * 10**6]) | st.integers()
# Mostly plausible events, each field sometimes missing and sometimes anything at all.
EVENTS = st.fixed_dictionaries(
    {"action": st.sampled_from(ACTIONS) | JSON},
    optional={
        "event_id": st.text(max_size=300) | JSON,
        "user_id": st.text(max_size=300) | JSON,
        "session_id": st.text(max_size=300) | JSON,
        "item_id": st.text(max_size=300) | JSON,
        "timestamp_ms": MOMENTS | JSON,
        "value": st.floats() | JSON,
        "query": st.text(max_size=50) | JSON,
        "context": JSON,
        "tenant": JSON,
        "consent": JSON,
        "producer": JSON,
        "request_id": JSON,
        "events": JSON,
        "items": JSON,
    },
)
BODIES = EVENTS | st.lists(EVENTS, max_size=4) | st.fixed_dictionaries({"events": st.lists(EVENTS, max_size=4)}) | JSON


def as_bytes(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def check_outcome(outcome: Event | ContractError) -> None:
    if isinstance(outcome, ContractError):
        assert outcome.path.startswith("$")
        assert outcome.reason.replace("_", "").isalpha()
        return
    check_event(outcome, now_ms=NOW_MS)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(outcome), type=Event) == outcome
    for identity in (outcome.event_id, outcome.user_id, outcome.session_id, outcome.item_id):
        assert identity is None or key_of(identity) >= 0


@settings(max_examples=120, deadline=None)
@given(st.builds(as_bytes, BODIES) | st.binary(max_size=60))
@example(b'{"events":[{"action":"click"},5]}')
@example(b'{"action":"search","user_id":"\\udc00"}')
def test_any_bytes_become_events_or_rejections_and_nothing_else(raw: bytes) -> None:
    for outcome in decode_events(raw, now_ms=NOW_MS):
        check_outcome(outcome)


@settings(max_examples=60, deadline=None)
@given(st.builds(as_bytes, EVENTS), st.data())
def test_a_mangled_event_is_an_event_or_a_rejection(raw: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(raw) - 1))
    mangled = raw[:at] + data.draw(st.binary(max_size=3)) + raw[at + 1 :]
    try:
        check_outcome(decode_event(mangled, now_ms=NOW_MS))
    except ContractError as error:
        check_outcome(error)


@settings(max_examples=60, deadline=None)
@given(st.builds(as_bytes, BODIES | st.fixed_dictionaries({"item_id": st.text(max_size=20), "price": JSON})))
def test_any_bytes_become_items_or_rejections_and_nothing_else(raw: bytes) -> None:
    for outcome in decode_items(raw):
        assert isinstance(outcome, Item | ContractError)
        if isinstance(outcome, Item):
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(outcome), type=Item) == outcome
