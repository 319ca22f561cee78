"""The gate lets many in together, and one alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

from upnext.store.gate import Gate


def test_many_are_inside_together() -> None:
    gate = Gate()
    together = threading.Barrier(3)

    def visit() -> None:
        gate.enter()
        together.wait(20)  # breaks unless all three are inside at once
        gate.leave()

    with ThreadPoolExecutor(3) as pool:
        for visitor in [pool.submit(visit) for _ in range(3)]:
            visitor.result()


def test_alone_waits_for_those_inside_and_newcomers_wait_for_it() -> None:
    gate = Gate()
    told: list[str] = []
    gate.enter()
    alone_asked = threading.Event()

    def alone() -> None:
        alone_asked.set()
        with gate.alone():
            told.append("alone")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(alone)
        assert alone_asked.wait(20)
        told.append("still inside")
        gate.leave()
        waiting.result(20)
    gate.enter()
    gate.leave()
    assert told == ["still inside", "alone"]


def test_nobody_is_inside_while_one_is_alone_under_load() -> None:
    gate = Gate()
    inside = 0
    seen_by_alone: list[int] = []
    lock = threading.Lock()

    def visit() -> None:
        nonlocal inside
        for _ in range(300):
            gate.enter()
            with lock:
                inside += 1
            with lock:
                inside -= 1
            gate.leave()

    def alone() -> None:
        for _ in range(100):
            with gate.alone():
                seen_by_alone.append(inside)

    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(visit), pool.submit(visit), pool.submit(alone), pool.submit(alone)]:
            job.result(60)
    assert seen_by_alone == [0] * 200


def test_the_gate_opens_again_when_the_one_alone_fails() -> None:
    gate = Gate()
    try:
        with gate.alone():
            raise ValueError
    except ValueError:
        pass
    gate.enter()
    gate.leave()
