"""What every event log promises, attacked; an implementation joins by giving the `log` fixture."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.ingest import subject_index
from upnext.ingest.log_interface import EventLog


def event(event_id: str, user_id: str | None = "ann", **fields: object) -> Event:
    return Event(event_id=event_id, action="click", timestamp_ms=1_700_000_000_000, user_id=user_id, **fields)


def events(name: str, count: int) -> list[Event]:
    return [event(f"{name}{number}") for number in range(count)]


class EventLogSuite:
    @pytest.fixture
    def log(self) -> EventLog:
        raise NotImplementedError

    def test_events_come_back_in_order_with_the_numbers_they_were_given(self, log: EventLog) -> None:
        assert log.append([event("a"), event("b")]) == [1, 2]
        assert log.append([event("c")]) == [3]
        assert log.read(0, 10) == [(1, event("a")), (2, event("b")), (3, event("c"))]
        assert list(log.scan()) == log.read(0, 10)

    def test_every_field_of_an_event_is_kept(self, log: EventLog) -> None:
        full = Event(
            event_id="é\x00",
            action="purchase",
            timestamp_ms=-5,
            user_id="u",
            session_id="s",
            item_id="i",
            request_id="r",
            value=0.1,
            query="two words",
            context={"mode": "fast", "nested": {"position": [1, None, 2.5]}},
            tenant="bank",
            consent=False,
            producer="web",
        )
        log.append([full])
        assert log.read(0, 1) == [(1, full)]

    def test_an_event_id_already_in_the_log_or_earlier_in_the_call_is_left_out(self, log: EventLog) -> None:
        assert log.append([event("a"), event("b"), event("a", item_id="other")]) == [1, 2, None]
        assert log.append([event("b"), event("c"), event("a")]) == [None, 3, None]
        assert [found.event_id for _, found in log.scan()] == ["a", "b", "c"]
        assert log.read(0, 1)[0][1].item_id is None

    def test_the_same_event_id_of_two_tenants_is_two_events(self, log: EventLog) -> None:
        pairs = [("a", "bc"), ("ab", "c"), ("a", "b:c"), ("", "abc")]
        assert log.append([event(name, tenant=tenant) for tenant, name in pairs]) == [1, 2, 3, 4]
        assert log.append([event(name, tenant=tenant) for tenant, name in pairs]) == [None] * 4

    def test_reading_starts_after_a_number_and_stops_at_the_limit(self, log: EventLog) -> None:
        log.append(events("e", 10))
        assert [number for number, _ in log.read(3, 4)] == [4, 5, 6, 7]
        assert [number for number, _ in log.read(8, 100)] == [9, 10]
        assert log.read(10, 5) == []
        assert log.read(99, 5) == []
        assert log.read(0, 0) == []
        assert [number for number, _ in log.scan(after=7)] == [8, 9, 10]

    def test_the_last_number_is_zero_for_an_empty_log_and_not_moved_by_duplicates(self, log: EventLog) -> None:
        assert log.last() == 0
        assert log.read(0, 5) == []
        assert list(log.scan()) == []
        assert log.append([]) == []
        log.append(events("e", 3))
        log.append(events("e", 3))
        assert log.last() == 3
        assert log.append([event("new")]) == [4]

    def test_a_scan_longer_than_its_batches_gives_everything_once(self, log: EventLog) -> None:
        log.append(events("e", 12_345))
        found = [(number, scanned.event_id) for number, scanned in log.scan()]
        assert found == [(number + 1, f"e{number}") for number in range(12_345)]

    def test_the_log_can_be_appended_to_while_it_is_scanned(self, log: EventLog) -> None:
        log.append(events("e", 100))
        scanned = log.scan()
        assert next(scanned)[0] == 1
        log.append(events("more", 5))
        assert [number for number, _ in scanned][:99] == list(range(2, 101))
        assert log.last() == 105

    def test_threads_appending_the_same_events_put_each_in_once(self, log: EventLog) -> None:
        barrier = threading.Barrier(4)

        def append(thread: int) -> list[int]:
            barrier.wait()
            given = []
            for start in range(0, 400, 20):
                batch = [event(f"shared{number}") for number in range(start, start + 20)]
                given += log.append([*batch, event(f"own{thread}-{start}")])
            numbers = [number for number in given if number is not None]
            assert numbers == sorted(numbers)
            return numbers

        with ThreadPoolExecutor(4) as pool:
            numbers = [number for given in pool.map(append, range(4)) for number in given]
        assert sorted(numbers) == list(range(1, 400 + 80 + 1))
        assert len({scanned.event_id for _, scanned in log.scan()}) == log.last() == 480

    def test_a_log_has_an_identity_of_its_own_that_stays(self, log: EventLog) -> None:
        before = log.identity()
        log.append([event("a")])
        log.forget(["u:ann"])
        assert len(before) >= 32
        assert log.identity() == before

    def test_the_events_of_a_subject_are_found_in_order_whatever_lies_between(self, log: EventLog) -> None:
        users = ["ann", "bob", "cleo"]
        log.append([event(f"e{number}", users[number * number % 3]) for number in range(13_000)])
        log.append([event("s1", None, session_id="ann"), event("s2", "bob", session_id="ann"), event("nobody's", "")])
        log.append([event("e1", "bob"), event("s1", "bob")])  # known, so left out of the index too
        for user in users:
            expected = [(number, found) for number, found in log.scan() if found.user_id == user]
            assert log.of_subject(f"u:{user}") == expected
        assert [number for number, _ in log.of_subject("s:ann")] == [13_001]
        assert log.of_subject("u:nobody") == log.of_subject("s:bob") == []

    def test_forgetting_erases_the_events_of_these_subjects_and_no_others(self, log: EventLog) -> None:
        log.append([event(f"{user}{number}", user) for number in range(5) for user in ("ann", "bob", "cleo")])
        assert log.forget(["u:ann", "u:nobody", "u:cleo", "u:ann"]) == 10
        left = [(number, event(f"bob{number // 3}", "bob")) for number in range(2, 16, 3)]
        assert list(log.scan()) == log.read(0, 100) == log.of_subject("u:bob") == left
        assert log.of_subject("u:ann") == []
        assert log.forget(["u:ann", "u:cleo"]) == log.forget([]) == 0
        assert log.count() == 5

    def test_an_erased_number_is_never_given_out_again_and_its_id_stays_known(self, log: EventLog) -> None:
        log.append([event("a"), event("b", "bob"), event("c"), event("d")])
        assert log.forget(["u:ann"]) == 3
        assert log.last() == 4
        assert log.append([event("d"), event("e"), event("a", "bob")]) == [None, 5, None]
        assert log.forget(["u:ann", "u:bob"]) == 2
        assert log.last() == 5
        assert list(log.scan()) == []
        assert log.append([event("f")]) == [6]
        assert [number for number, _ in log.of_subject("u:ann")] == [6]

    def test_reading_passes_over_a_long_erased_stretch_and_is_empty_only_at_the_end(self, log: EventLog) -> None:
        log.append([event("first", "bob"), *events("e", 23_000), event("last", "bob")])
        assert log.forget(["u:ann"]) == 23_000
        assert [number for number, _ in log.read(0, 2)] == [1, 23_002]
        assert [number for number, _ in log.read(1, 1)] == [number for number, _ in log.read(500, 10)] == [23_002]
        assert [number for number, _ in log.scan()] == [1, 23_002]
        assert log.read(23_002, 1) == []

    def test_subjects_with_one_key_are_told_apart(self, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(subject_index, "key_of", lambda subject: len(subject))
        log.append([event(f"{user}{number}", user) for number in range(6_000) for user in ("ann", "bob")])
        assert [found.user_id for _, found in log.of_subject("u:bob")] == ["bob"] * 6_000
        assert log.forget(["u:ann"]) == 6_000
        assert [found.user_id for _, found in log.scan()] == ["bob"] * 6_000
        assert len(log.of_subject("u:bob")) == 6_000

    def test_a_closed_log_refuses_every_call_and_closing_twice_is_fine(self, log: EventLog) -> None:
        log.append([event("a")])
        log.close()
        log.close()
        calls = (
            lambda: log.append([event("b")]),
            lambda: log.read(0, 1),
            lambda: list(log.scan()),
            lambda: log.of_subject("u:ann"),
            lambda: log.forget(["u:ann"]),
            log.last,
            log.count,
            log.identity,
        )
        for call in calls:
            with pytest.raises(StoreError, match="closed"):
                call()
