"""Work beside the requests is done when it is due, fails alone, and holds up nobody's end for longer than it may."""

import threading

from upnext.clock import ManualClock, SystemClock
from upnext.serve.rounds import Round, Rounds


def test_each_round_is_done_when_it_is_due_and_a_failure_stops_no_other() -> None:
    clock, done = ManualClock(), []

    def fail() -> None:
        raise OSError("no disk")

    rounds = Rounds([Round("a", 100, lambda: done.append("a")), Round("b", 100, fail),
                     Round("c", 250, lambda: done.append("c"))], clock)  # fmt: skip
    assert rounds.once() == 100
    clock.advance(100)
    rounds.once()
    clock.advance(150)
    rounds.once()
    assert done == ["a", "c", "a", "a", "c"]


def test_the_end_waits_for_what_is_being_done_no_longer_than_it_is_told_to() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        go_on.wait(60)

    rounds = Rounds([Round("long", 1_000, long)], SystemClock(), niceness=5)
    rounds.start()
    assert begun.wait(30)
    rounds.close(wait_s=0.01)
    assert rounds._thread.is_alive()
    go_on.set()
    rounds.close()
    assert not rounds._thread.is_alive()
