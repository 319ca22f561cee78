"""A pause or an opened app leads to one shortlist in time, and never to a line that grows."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from upnext.ahead.occasions import Occasions
from upnext.clock import ManualClock
from upnext.domain.event import ACTIONS, Event
from upnext.settings import AheadSettings


def event(action: str = "pause", user: str | None = "a", **more: Any) -> Event:
    return Event(**{"event_id": "e", "action": action, "timestamp_ms": 1, "user_id": user, **more})


class Counter:
    """Occasions whose turns come when we say so."""

    def __init__(self, most_turns: int = 1_000, **settings: int) -> None:
        self.clock = ManualClock()
        self.worked: list[tuple[str, str, str]] = []
        self.turns: deque[Callable[[], None]] = deque(maxlen=most_turns)
        self.occasions = Occasions(AheadSettings(**settings), self.clock, self.work, self.turns.append)

    def work(self, *what: str) -> None:
        self.worked.append(what)  # type: ignore[arg-type]

    def note(self, *events: Event) -> None:
        self.occasions.note(events)

    def take(self, turns: int = 1_000) -> None:
        for _ in range(min(turns, len(self.turns))):
            self.turns.popleft()()

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.occasions.noted, self.occasions.made, self.occasions.dropped


def test_a_pause_is_a_prefetch_and_an_opened_app_a_speculation_and_nothing_else_is_an_occasion() -> None:
    counter = Counter()
    counter.note(*(event(action, user=action, item_id="x") for action in ACTIONS))
    counter.take()
    assert counter.worked == [("u:pause", "prefetch", ""), ("u:app_open", "speculation", "")]
    assert counter.counts == (2, 2, 0)


def test_work_waits_for_its_turn() -> None:
    counter = Counter()
    counter.note(event(user="a"), event(user="b"))
    assert (counter.worked, len(counter.turns), len(counter.occasions)) == ([], 2, 2)
    counter.take(1)
    assert counter.worked == [("u:a", "prefetch", "")]
    counter.take()
    assert counter.worked == [("u:a", "prefetch", ""), ("u:b", "prefetch", "")]
    assert len(counter.occasions) == 0


@pytest.mark.parametrize(("region", "expected"), [("de", "de"), (None, ""), (7, ""), (["de"], "")])
def test_the_region_is_that_of_the_event_where_it_is_one(region: object, expected: str) -> None:
    counter = Counter()
    counter.note(event(context={"region": region}), event(user="b"))
    counter.take()
    assert counter.worked == [("u:a", "prefetch", expected), ("u:b", "prefetch", "")]


def test_a_session_without_a_user_has_occasions_too_and_nobody_has_none() -> None:
    counter = Counter()
    counter.note(event(user=None, session_id="s"), event(user=None), event(user="b", session_id="s"))
    counter.take()
    assert [subject for subject, _, _ in counter.worked] == ["s:s", "u:b"]
    assert counter.counts == (2, 2, 0)


def test_without_consent_nothing_is_noted() -> None:
    counter = Counter()
    counter.note(event(consent=False))
    assert (counter.counts, len(counter.turns)) == ((0, 0, 0), 0)


def test_of_several_occasions_of_one_user_the_newest_counts_and_there_is_one_turn() -> None:
    counter = Counter()
    counter.note(event(user="a", context={"region": "de"}), event(user="b"))
    counter.note(event("app_open", user="a", context={"region": "fr"}))
    assert len(counter.turns) == 2
    counter.take()
    assert counter.worked == [("u:b", "prefetch", ""), ("u:a", "speculation", "fr")]
    assert counter.counts == (3, 2, 0)


def test_a_user_may_have_another_one_after_the_work_was_done() -> None:
    counter = Counter()
    for _ in range(2):
        counter.note(event())
        counter.take()
    assert counter.worked == [("u:a", "prefetch", "")] * 2


def test_what_waited_too_long_is_dropped_and_what_did_not_is_not() -> None:
    counter = Counter(occasion_age_ms=2_000)
    counter.note(event(user="old"))
    counter.clock.advance(1)
    counter.note(event(user="young"))
    counter.clock.advance(2_000)
    counter.take()
    assert counter.worked == [("u:young", "prefetch", "")]
    assert counter.counts == (2, 1, 1)


def test_a_newer_occasion_of_the_same_user_makes_the_wait_begin_anew() -> None:
    counter = Counter(occasion_age_ms=2_000)
    counter.note(event(user="a"))
    counter.clock.advance(1_500)
    counter.note(event(user="a"))
    counter.clock.advance(1_500)
    counter.take()
    assert counter.counts == (2, 1, 0)


def test_the_line_is_bounded_and_the_oldest_make_way() -> None:
    counter = Counter(occasions=3)
    counter.note(*(event(user=f"{n}") for n in range(10)), event(user="8"))
    assert len(counter.occasions) == 3
    counter.take()
    assert [subject for subject, _, _ in counter.worked] == ["u:7", "u:9", "u:8"]
    assert counter.counts == (11, 3, 7)


def test_turns_that_get_lost_leave_nobody_in_the_line_for_good() -> None:
    counter = Counter(most_turns=1, occasions=3, occasion_age_ms=2_000)
    counter.note(event(user="a"), event(user="b"))
    counter.turns.clear()
    counter.clock.advance(2_001)
    counter.note(event(user="a"))
    counter.take()
    assert counter.worked == [("u:a", "prefetch", "")]
    assert counter.counts == (3, 1, 2)
    for n in range(20):  # a full line without a turn left goes on, too
        counter.turns.clear()
        counter.note(event(user=f"{n}"))
    counter.take()
    assert len(counter.worked) == 2


def test_work_that_fails_is_not_made_and_holds_up_no_other() -> None:
    counter = Counter()
    counter.note(event(user="a"), event(user="b"))
    counter.occasions._work = lambda *_: 1 // 0 and None
    with pytest.raises(ZeroDivisionError):
        counter.take(1)
    counter.occasions._work = counter.work
    counter.take()
    assert counter.worked == [("u:b", "prefetch", "")]
    assert counter.counts == (2, 1, 0)


def test_many_threads_lose_and_double_nothing() -> None:
    counter = Counter(most_turns=4_000, occasions=4_000)

    def note(name: int) -> None:
        for n in range(500):
            counter.note(event(user=f"{name}/{n}"))
            if n % 2:
                counter.take(1)

    threads = [threading.Thread(target=note, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counter.take(4_000)
    assert len(counter.worked) == len(set(counter.worked)) == 4_000
    assert counter.counts == (4_000, 4_000, 0)
