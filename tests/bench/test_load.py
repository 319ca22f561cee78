"""Which request goes on which connection, and what is recorded; on a clock that stands still."""

import math

from upnext.bench.load import ClosedLoad, Load, OpenLoad
from upnext.bench.samples import BodySample, Outcome, Samples
from upnext.clock import ManualClock


class FakeLine:
    def __init__(self) -> None:
        self.request = -1
        self.busy_since_ms = 0.0
        self.writable = True
        self.wrote: list[bytes] = []
        self.aborted = False

    def send(self, request: bytes) -> None:
        self.wrote.append(request)

    def abort(self) -> None:
        self.aborted = True
        self.writable = False


def make(kind: type[Load], lines: int) -> tuple[Load, Samples, ManualClock, list[FakeLine]]:
    clock, samples = ManualClock(), Samples()
    load = kind([b"A", b"B", b"C"], [2, 0, 1], samples, clock.monotonic_ms)
    opened = [FakeLine() for _ in range(lines)]
    for line in opened:
        load.opened(line)
    return load, samples, clock, opened


def open_load(lines: int) -> tuple[OpenLoad, Samples, ManualClock, list[FakeLine]]:
    load, samples, clock, opened = make(OpenLoad, lines)
    assert isinstance(load, OpenLoad)
    return load, samples, clock, opened


def test_latency_counts_from_the_intended_start_even_when_the_connection_was_busy() -> None:
    load, samples, clock, (line,) = open_load(1)
    load.due(0.0)
    clock.advance(10.0)
    load.due(10.0)  # the only line waits for its answer
    clock.advance(190.0)
    load.replied(line, 200, b"x")  # the stall ends at 200 ms; the second request goes out at once
    clock.advance(1.0)
    load.replied(line, 200, b"y")
    assert samples.sent_ms.tolist() == [0.0, 200.0]
    assert samples.done_ms.tolist() == [200.0, 201.0]
    assert samples.intended_ms.tolist() == [0.0, 10.0]  # so the latencies are 200 and 191 ms, not 200 and 1
    assert samples.queued.tolist() == [0, 1]


def test_a_request_sent_late_by_the_generator_itself_still_counts_from_when_it_was_due() -> None:
    load, samples, clock, _ = open_load(1)
    clock.advance(3.0)
    load.due(1.0)
    assert (samples.intended_ms[0], samples.sent_ms[0], samples.queued[0]) == (1.0, 3.0, 0)


def test_late_requests_go_out_in_the_order_they_were_due() -> None:
    load, samples, clock, (line,) = open_load(1)
    for due_ms in (0.0, 1.0, 2.0, 3.0):
        load.due(due_ms)
    for _ in range(4):
        clock.advance(5.0)
        load.replied(line, 200, b"")
    assert line.wrote == [b"C", b"A", b"B", b"C"]  # the picks, over and over
    assert samples.sent_ms.tolist() == [0.0, 5.0, 10.0, 15.0]
    assert load.waiting == 0
    assert load.in_flight == 0


def test_connections_take_turns_so_that_none_idles_out() -> None:
    load, _, _, lines = open_load(3)
    for _ in range(6):
        load.due(0.0)
        busy = next(line for line in lines if line.request >= 0)
        load.replied(busy, 200, b"")
    assert [len(line.wrote) for line in lines] == [2, 2, 2]


def test_an_idle_connection_that_is_closing_is_passed_over() -> None:
    load, _, _, lines = open_load(2)
    lines[0].writable = False
    load.due(0.0)
    assert lines[0].wrote == []
    assert lines[1].wrote == [b"C"]


def test_a_lost_connection_fails_its_request_and_only_that_one() -> None:
    load, samples, clock, (line,) = open_load(1)
    load.due(0.0)
    load.due(1.0)
    clock.advance(3.0)
    load.lost(line)
    assert [Outcome(code) for code in samples.outcome] == [Outcome.CLOSED, Outcome.UNSENT]
    load.opened(FakeLine())  # a new connection takes the request that waits
    assert Outcome(samples.outcome[1]) is Outcome.PENDING
    assert len(load.lines) == 1


def test_giving_up_times_out_the_old_and_spares_the_young() -> None:
    load, samples, clock, lines = open_load(2)
    load.due(0.0)
    clock.advance(400.0)
    load.due(400.0)
    clock.advance(200.0)
    load.give_up(before_ms=clock.monotonic_ms() - 500.0)
    assert [Outcome(code) for code in samples.outcome] == [Outcome.TIMED_OUT, Outcome.PENDING]
    assert samples.done_ms[0] == 600.0
    assert [line.aborted for line in lines] == [True, False]


def test_a_malformed_reply_is_counted_once_though_its_connection_is_then_lost() -> None:
    load, samples, _, (line,) = open_load(1)
    load.due(0.0)
    load.malformed(line)
    load.lost(line)
    assert [Outcome(code) for code in samples.outcome] == [Outcome.MALFORMED]


def test_an_answer_nobody_asked_for_closes_the_connection_and_counts_nothing() -> None:
    load, samples, _, (line,) = open_load(1)
    load.replied(line, 408, b"")
    assert line.aborted
    assert len(samples) == 0


def test_a_closed_loop_asks_again_when_answered_until_it_is_stopped() -> None:
    load, samples, clock, lines = make(ClosedLoad, 2)
    assert isinstance(load, ClosedLoad)
    assert load.in_flight == 2
    clock.advance(5.0)
    load.replied(lines[0], 200, b"")
    assert samples.intended_ms.tolist() == [0.0, 0.0, 5.0]
    load.stop()
    for line in lines:
        load.replied(line, 200, b"")
    assert load.in_flight == 0
    assert len(samples) == 3
    assert not any(map(math.isnan, samples.done_ms))


def test_bodies_are_all_kept_while_they_fit_and_thinned_evenly_when_they_do_not() -> None:
    everything = BodySample(budget_bytes=1_000)
    few = BodySample(budget_bytes=100)
    for index in range(100):
        everything.offer(index, b"0123456789")
        few.offer(index, b"0123456789")
    assert [index for index, _ in everything] == list(range(100))
    assert few.every == 16
    assert [index for index, _ in few] == list(range(0, 100, 16))


def test_one_body_larger_than_the_budget_is_kept() -> None:
    bodies = BodySample(budget_bytes=10)
    bodies.offer(0, b"x" * 50)
    assert len(bodies) == 1
