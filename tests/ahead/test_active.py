"""Who is most active: counted by known users, over a span before the newest event."""

import itertools
from typing import Any

import pytest

from upnext.ahead.active import ActiveUser, Activity, activity_of
from upnext.domain.event import Event
from upnext.ingest.memory_log import MemoryEventLog

NOW_MS = 1_700_000_000_000
_numbers = itertools.count()


def event(user_id: str | None, timestamp_ms: int = NOW_MS, region: Any = None, **fields: Any) -> Event:
    context = {} if region is None else {"region": region}
    given = {"event_id": f"e{next(_numbers)}", "action": "click", "item_id": "i", "context": context}
    return Event(**{**given, "user_id": user_id, "timestamp_ms": timestamp_ms, **fields})


def activity(*events: Event, since_ms: int = 0) -> Activity:
    counted = Activity(since_ms)
    for each in events:
        counted.add(each)
    return counted


def users(n: int) -> list[Event]:
    """User u00 has n events, u01 n - 1, …, the last one."""
    return [event(f"u{number:02}") for number in range(n) for _ in range(n - number)]


def subjects(chosen: list[ActiveUser]) -> list[str]:
    return [user.subject for user in chosen]


def test_only_consenting_events_of_known_users_count() -> None:
    counted = activity(
        event("ann"),
        event("ann", session_id="s"),
        event("ann", action="app_open", item_id=None),
        event("ann", consent=False),
        event(None, session_id="s"),
        event("", session_id="s"),
        event("bob", consent=False),
    )
    assert counted.most_active(1.0) == [ActiveUser("u:ann", 3, "", False)]
    assert len(counted) == 1


def test_the_most_active_come_first_and_ties_in_order_of_subjects() -> None:
    counted = activity(event("b"), event("c"), event("a"), event("c"))
    assert subjects(counted.most_active(1.0)) == ["u:c", "u:a", "u:b"]


@pytest.mark.parametrize(
    ("n", "share", "expected"),
    [(10, 0.2, 2), (14, 0.2, 2), (15, 0.2, 3), (100, 0.29, 29), (3, 0.2, 1), (1, 0.01, 1), (7, 1.0, 7), (0, 0.2, 0)],
)
def test_a_share_of_users_is_rounded_down_but_to_one_at_least(n: int, share: float, expected: int) -> None:
    counted = activity(*(event(f"u{number}") for number in range(n)))
    assert len(counted.most_active(share)) == expected


def test_the_limit_cuts_the_chosen_and_the_head_is_a_share_of_all_who_are_active() -> None:
    counted = activity(*users(20))
    chosen = counted.most_active(0.5, pinned_share=0.1, limit=4)
    assert subjects(chosen) == ["u:u00", "u:u01", "u:u02", "u:u03"]
    assert [user.n_events for user in chosen] == [20, 19, 18, 17]
    assert [user.head for user in chosen] == [True, True, False, False]


def test_the_region_is_that_of_the_newest_event_which_names_one() -> None:
    counted = activity(
        event("ann", NOW_MS, "eu"),
        event("ann", NOW_MS - 5, "us"),
        event("ann", NOW_MS + 1, 7),
        event("ann", NOW_MS + 2),
        event("bob", NOW_MS, "us"),
        event("bob", NOW_MS, "eu"),
        event("cid", NOW_MS, ["us"]),
    )
    assert {user.subject: user.region for user in counted.most_active(1.0)} == {
        "u:ann": "eu",
        "u:bob": "eu",
        "u:cid": "",
    }


def test_the_span_ends_at_the_newest_event_wherever_in_the_log_it_is() -> None:
    log = MemoryEventLog()
    log.append(
        [
            event("old", NOW_MS - 101),
            event("edge", NOW_MS - 100),
            event("newest", NOW_MS),
            event("late", NOW_MS - 500),
            event("in", NOW_MS - 1),
            event("away", NOW_MS + 10_000, consent=False),
            event(None, NOW_MS + 10_000, session_id="s"),
        ]
    )
    assert subjects(activity_of(log, 100, until=log.last()).most_active(1.0)) == ["u:edge", "u:in", "u:newest"]


def test_the_log_is_read_up_to_an_event_as_if_it_ended_there() -> None:
    log = MemoryEventLog()
    log.append([event("ann"), event("bob", NOW_MS + 5_000), event("bob", NOW_MS + 5_000)])
    assert subjects(activity_of(log, 100, until=1).most_active(1.0)) == ["u:ann"]
    assert subjects(activity_of(log, 100, until=3).most_active(1.0)) == ["u:bob"]


def test_nobody_is_active_in_an_empty_log() -> None:
    assert activity_of(MemoryEventLog(), 100, until=0).most_active(0.2, pinned_share=0.01) == []


def test_how_far_it_is_is_told_over_both_readings_and_who_hears_may_end_it() -> None:
    log, told = MemoryEventLog(), []
    log.append([event(f"u{number % 7}") for number in range(20_001)])
    activity_of(log, 100, until=20_001, tell=lambda *far: told.append(far))
    assert told == [(10_000, 40_002), (20_000, 40_002), (30_001, 40_002), (40_001, 40_002)]

    def end(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activity_of(log, 100, until=20_001, tell=end)
