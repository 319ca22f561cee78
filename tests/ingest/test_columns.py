"""The columns of a log say exactly what its events say, in order of time."""

import numpy as np

from upnext.domain.event import ACTION_CODE, Event
from upnext.domain.identity import key_of
from upnext.ingest.columns import read_columns
from upnext.ingest.memory_log import MemoryEventLog

EVENTS = [
    Event(event_id="1", action="play", timestamp_ms=3000, user_id="a", item_id="x", value=4.5),
    Event(event_id="2", action="click", timestamp_ms=1000, session_id="s", item_id="y", context={"device": "tv"}),
    Event(
        event_id="3", action="search", timestamp_ms=1000, user_id="a", session_id="s", query="q",
        context={"region": 7, "device": None},
    ),
    Event(event_id="4", action="click", timestamp_ms=2000, user_id="b", session_id="t", item_id="x"),
]  # fmt: skip


def test_events_are_sorted_by_time_and_then_by_their_place_in_the_log() -> None:
    log = MemoryEventLog()
    log.append(EVENTS)
    columns = read_columns(log, contexts=("device", "region"))
    assert columns.seq.tolist() == [2, 3, 4, 1]
    assert columns.timestamp_ms.tolist() == [1000, 1000, 2000, 3000]
    assert [columns.users[user] for user in columns.user] == ["s:s", "u:a", "u:b", "u:a"]
    assert [columns.items[item] if item >= 0 else None for item in columns.item] == ["y", None, "x", "x"]
    assert columns.action.tolist() == [ACTION_CODE[action] for action in ("click", "search", "click", "play")]
    assert columns.session.tolist() == [key_of("s"), key_of("s"), key_of("t"), 0]
    assert np.isnan(columns.value[:3]).all()
    assert columns.value[3] == 4.5
    told = [columns.context_of(event) for event in range(4)]
    assert told == [(key_of("device=tv"), 0), (0, key_of("region=7")), (), ()]
    assert read_columns(log).context_of(0) == ()


def test_columns_have_the_promised_types() -> None:
    log = MemoryEventLog()
    log.append(EVENTS)
    columns = read_columns(log)
    expected = {
        "user": "int32", "item": "int32", "action": "uint8", "timestamp_ms": "int64", "session": "uint64",
        "value": "float32", "seq": "int64", "context": "int32", "context_keys": "uint64",
    }  # fmt: skip
    assert {name: str(getattr(columns, name).dtype) for name in expected} == expected


def test_an_empty_log_gives_empty_columns() -> None:
    columns = read_columns(MemoryEventLog())
    assert len(columns) == 0
    assert columns.users == []


def test_events_of_many_moments_keep_their_log_order_within_each() -> None:
    rng = np.random.default_rng(5)
    moments = rng.integers(10, size=1000).tolist()
    log = MemoryEventLog()
    log.append(
        [
            Event(event_id=str(n), action="app_open", timestamp_ms=moment, user_id="u")
            for n, moment in enumerate(moments)
        ]
    )
    columns = read_columns(log)
    expected = sorted(range(1000), key=lambda n: (moments[n], n))
    assert (columns.seq - 1).tolist() == expected
