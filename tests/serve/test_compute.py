"""A job that hangs costs its own thread and nothing else; time is the manual clock's but where timers are the point."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from upnext.clock import Deadline, ManualClock, SystemClock
from upnext.serve.compute import ComputeThread

NEVER = Deadline.never(SystemClock())
FOR_EVER_S = 30.0


async def until(condition: Callable[[], bool]) -> None:
    """Lets the event loop turn until the condition holds."""
    while not condition():
        await asyncio.sleep(0.001)


def within(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work`; what waits for ever fails the test instead."""
    asyncio.run(asyncio.wait_for(work, FOR_EVER_S))


class Hanging:
    """A job that begins, and ends only when told to."""

    def __init__(self, raises: bool = False) -> None:
        self.begun, self.go_on, self.raises = threading.Event(), threading.Event(), raises
        self.thread: threading.Thread | None = None

    def __call__(self) -> None:
        self.thread = threading.current_thread()
        self.begun.set()
        self.go_on.wait(FOR_EVER_S)
        if self.raises:
            raise ValueError("late")

    async def start(self, compute: ComputeThread, *given_up: Callable[[float], None]) -> asyncio.Task[bool]:
        waiting = asyncio.create_task(compute.run(self, NEVER, *given_up))
        await until(self.begun.is_set)
        return waiting


class Hung:
    """A compute thread whose clock is ours; `hang` has `n` jobs hang, one after the other, for 150 ms each."""

    def __init__(self, most_lost: int = 8) -> None:
        self.clock, self.told = ManualClock(), []
        self.compute = ComputeThread(self.clock, 150.0, most_lost, self.told.append)
        self.given_up: list[float] = []

    async def hang(self, n: int = 1, raises: bool = False) -> list[Hanging]:
        jobs = [Hanging(raises) for _ in range(n)]
        for job in jobs:
            waiting = await job.start(self.compute, self.given_up.append)
            self.clock.advance(150)
            self.compute.look()
            assert await waiting is False
        return jobs


def test_jobs_run_in_order_on_one_thread():
    compute, ran = ComputeThread(), []

    async def inside() -> None:
        jobs = [compute.run(lambda n=n: ran.append((n, threading.get_ident())), NEVER) for n in range(50)]
        assert await asyncio.gather(*jobs) == [True] * 50

    within(inside())
    compute.close()
    assert [n for n, _ in ran] == list(range(50))
    assert len({thread for _, thread in ran}) == 1
    assert compute.lost == 0


def test_a_job_is_given_up_at_the_hard_stop_and_not_before():
    hung = Hung()

    async def inside() -> None:
        job = Hanging()
        waiting = await job.start(hung.compute, hung.given_up.append)
        hung.clock.advance(100)
        assert hung.compute.look() == 50
        hung.clock.advance(49.5)
        assert hung.compute.look() == 0.5
        assert (hung.compute.lost, waiting.done()) == (0, False)
        hung.clock.advance(0.5)
        assert hung.compute.look() == 150
        assert await waiting is False
        assert (hung.compute.lost, hung.given_up) == (1, [150.0])
        job.go_on.set()

    within(inside())
    hung.compute.close()


def test_what_was_queued_behind_a_job_that_hangs_is_computed_by_a_fresh_thread():
    hung, ran = Hung(), []

    async def inside() -> None:
        job = Hanging()
        waiting = await job.start(hung.compute)
        behind = asyncio.create_task(hung.compute.run(lambda: ran.append(threading.current_thread()), NEVER))
        await asyncio.sleep(0)
        hung.clock.advance(150)
        hung.compute.look()
        assert await behind is True
        assert await hung.compute.run(lambda: ran.append(threading.current_thread()), NEVER) is True
        assert ran[0] is ran[1] is not job.thread
        assert await waiting is False
        job.go_on.set()

    within(inside())
    hung.compute.close()


@pytest.mark.parametrize("raises", [False, True])
def test_a_thread_that_comes_back_ends_and_is_no_longer_lost(raises, caplog):
    hung = Hung()

    async def inside() -> None:
        (job,) = await hung.hang(raises=raises)
        assert hung.compute.lost == 1
        job.go_on.set()
        await until(lambda: hung.compute.lost == 0)
        job.thread.join(FOR_EVER_S)
        threads: list[threading.Thread] = []
        assert await hung.compute.run(lambda: threads.append(threading.current_thread()), NEVER) is True
        assert threads != [job.thread]
        assert len(hung.given_up) == 1

    within(inside())
    hung.compute.close()
    assert ("ValueError: late" in caplog.text) is raises


def test_the_exception_of_a_job_reaches_whoever_waits_on_a_fresh_thread_too():
    hung = Hung()

    async def inside() -> None:
        (job,) = await hung.hang()
        with pytest.raises(ZeroDivisionError):
            await hung.compute.run(lambda: 1 // 0 and None, NEVER)
        assert await hung.compute.run(lambda: None, NEVER) is True
        job.go_on.set()

    within(inside())
    hung.compute.close()


def test_when_many_hang_it_is_told_once_and_no_more_threads_are_spent():
    hung = Hung(most_lost=3)

    async def inside() -> None:
        jobs = await hung.hang(2)
        assert hung.told == []
        jobs += await hung.hang(1)
        await asyncio.sleep(0)
        assert (hung.told, hung.compute.lost) == ([3], 3)
        started: list[int] = []
        assert await hung.compute.run(lambda: started.append(1), NEVER) is False, "at once: nobody would compute it"
        assert started == []
        jobs[1].go_on.set()
        await until(lambda: hung.compute.lost == 2)
        await until(lambda: hung.compute._worker is not None)
        assert await hung.compute.run(lambda: started.append(2), NEVER) is True
        assert started == [2]
        jobs += await hung.hang(1)
        await asyncio.sleep(0)
        assert hung.told == [3, 3]
        for job in jobs:
            job.go_on.set()
        await until(lambda: hung.compute.lost == 0)

    within(inside())
    hung.compute.close()


def test_one_that_ends_just_before_it_is_given_up_is_not_lost():
    hung = Hung()

    async def inside() -> None:
        job = Hanging()
        waiting = await job.start(hung.compute, hung.given_up.append)
        worker, task = hung.compute._worker, hung.compute._worker.task
        hung.clock.advance(150)
        job.go_on.set()
        assert await waiting is True
        assert hung.compute._lose(worker, task) is False
        assert (hung.compute.lost, hung.given_up, hung.compute._worker) == (0, [], worker)

    within(inside())
    hung.compute.close()


def test_a_timer_notices_a_job_that_hangs_while_nobody_comes():
    compute = ComputeThread(hard_stop_ms=40.0)

    async def inside() -> None:
        job = Hanging()
        assert await compute.run(job, Deadline.after(SystemClock(), 2.0)) is False, "by its deadline"
        if job.begun.is_set():
            await until(lambda: compute.lost == 1)
        job.go_on.set()
        await until(lambda: compute.lost == 0)
        late = Hanging()
        assert await compute.run(late, NEVER) is False, "at the hard stop, though the deadline never comes"
        assert await compute.run(lambda: None, NEVER) is True
        late.go_on.set()
        await until(lambda: compute.lost == 0)

    within(inside())
    compute.close()


def test_a_timer_runs_only_while_there_is_work_and_in_each_event_loop_anew():
    compute = ComputeThread(hard_stop_ms=40.0)

    async def inside() -> None:
        assert await compute.run(lambda: None, NEVER) is True
        assert compute._watched is asyncio.get_running_loop()
        await until(lambda: compute._watched is None)
        job = Hanging()
        assert await compute.run(job, NEVER) is False
        job.go_on.set()

    within(inside())
    within(inside())
    compute.close()


def test_a_job_whose_deadline_passed_behind_one_that_hung_is_not_started():
    hung, started = Hung(), []

    async def inside() -> None:
        job = Hanging()
        waiting = await job.start(hung.compute)
        soon = Deadline.after(hung.clock, 60_000)
        late = asyncio.create_task(hung.compute.run(lambda: started.append("late"), soon))
        await asyncio.sleep(0)
        hung.clock.advance(60_001)
        hung.compute.look()
        assert await waiting is False
        assert await hung.compute.run(lambda: started.append("last"), NEVER) is True
        late.cancel()
        job.go_on.set()

    within(inside())
    hung.compute.close()
    assert started == ["last"]


def test_a_request_that_is_cancelled_is_not_computed():
    compute, started = ComputeThread(), []

    async def inside() -> None:
        job = Hanging()
        waiting = await job.start(compute)
        gone = asyncio.create_task(compute.run(lambda: started.append("gone"), NEVER))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        job.go_on.set()
        assert await waiting is True
        assert await compute.run(lambda: None, NEVER) is True

    within(inside())
    compute.close()
    assert started == []


def test_a_request_that_is_cancelled_while_it_is_computed_disturbs_nobody(caplog):
    compute = ComputeThread()

    async def inside() -> None:
        job = Hanging(raises=True)
        gone = await job.start(compute)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        job.go_on.set()
        assert await compute.run(lambda: None, NEVER) is True

    within(inside())
    compute.close()
    assert compute.lost == 0
    assert "InvalidStateError" not in caplog.text


@pytest.mark.parametrize("given_up", [True, False])
def test_closing_does_not_wait_for_a_job_that_hangs(given_up):
    hung, joined = Hung(), []

    async def inside() -> list[Hanging]:
        if given_up:
            return await hung.hang(3)
        job = Hanging()
        (await job.start(hung.compute)).cancel()
        return [job]

    jobs = asyncio.run(inside())
    worker, join = hung.compute._worker, hung.compute._worker.join
    worker.join = lambda timeout: (joined.append(timeout), join(timeout))
    hung.compute.close()
    assert sum(joined) <= 0.15, "one hard stop"
    assert worker.is_alive() is not given_up
    assert all(job.thread.is_alive() and job.thread.daemon for job in jobs)
    for job in jobs:
        job.go_on.set()
        job.thread.join(FOR_EVER_S)
        assert not job.thread.is_alive()
    assert (hung.compute.lost, worker.is_alive()) == (0, False)


def test_no_fresh_thread_begins_after_closing():
    hung = Hung(most_lost=1)
    (job,) = asyncio.run(hung.hang())
    hung.compute.close()
    job.go_on.set()
    job.thread.join(FOR_EVER_S)
    assert (hung.compute.lost, hung.compute._worker) == (0, None)


def test_what_is_queued_at_closing_is_still_done():
    compute, done = ComputeThread(), []

    async def inside() -> None:
        job = Hanging()
        await job.start(compute)
        for n in range(5):
            asyncio.create_task(compute.run(lambda n=n: done.append(n), NEVER))  # noqa: RUF006
        await asyncio.sleep(0)
        job.go_on.set()
        compute.close()
        assert done == list(range(5))

    within(inside())


def test_offered_jobs_run_in_their_order_when_no_request_waits():
    compute, ran = ComputeThread(), []

    async def inside() -> None:
        for n in range(3):
            compute.offer(lambda n=n: ran.append((n, threading.current_thread())))
        await until(lambda: len(ran) == 3)
        assert await compute.run(lambda: ran.append(("request", threading.current_thread())), NEVER) is True

    within(inside())
    compute.close()
    assert [name for name, _ in ran] == [0, 1, 2, "request"]
    assert len({thread for _, thread in ran}) == 1
    assert compute.dropped == 0


def test_requests_go_before_what_was_offered_earlier_and_before_every_single_job_of_it():
    compute, ran = ComputeThread(), []
    first_offered, holding = Hanging(), Hanging()

    async def inside() -> None:
        held = await holding.start(compute)
        for job in (first_offered, lambda: ran.append("second"), lambda: ran.append("third")):
            compute.offer(job)
        early = [asyncio.create_task(compute.run(lambda n=n: ran.append(n), NEVER)) for n in range(3)]
        await asyncio.sleep(0)
        holding.go_on.set()
        assert await asyncio.gather(held, *early) == [True] * 4
        await until(first_offered.begun.is_set)
        assert ran == [0, 1, 2]
        late = [asyncio.create_task(compute.run(lambda n=n: ran.append(n), NEVER)) for n in range(3, 6)]
        await asyncio.sleep(0)
        first_offered.go_on.set()
        assert await asyncio.gather(*late) == [True] * 3
        await until(lambda: "third" in ran)

    within(inside())
    compute.close()
    assert ran == [0, 1, 2, 3, 4, 5, "second", "third"]


def test_as_long_as_requests_wait_nothing_that_was_offered_begins():
    compute, ran = ComputeThread(), []

    async def inside() -> None:
        job = Hanging()
        waiting = await job.start(compute)
        for n in range(5):
            compute.offer(lambda n=n: ran.append(n))
        for _ in range(200):  # there is always one more in the queue when one ends
            behind = Hanging()
            next_waiting = asyncio.create_task(compute.run(behind, NEVER))
            await asyncio.sleep(0)
            job.go_on.set()
            assert await waiting is True
            await until(behind.begun.is_set)
            assert ran == []
            job, waiting = behind, next_waiting
        job.go_on.set()
        assert await waiting is True
        await until(lambda: len(ran) == 5)

    within(inside())
    compute.close()


def test_of_too_many_offered_jobs_the_oldest_make_way_and_are_counted():
    compute, ran = ComputeThread(most_offered=3), []

    async def inside() -> None:
        job = Hanging()
        waiting = await job.start(compute)
        for n in range(10):
            compute.offer(lambda n=n: ran.append(n))
        assert compute.dropped == 7
        job.go_on.set()
        assert await waiting is True
        await until(lambda: len(ran) == 3)

    within(inside())
    compute.close()
    assert (ran, compute.dropped) == ([7, 8, 9], 7)


def test_an_offered_job_that_fails_is_logged_and_the_next_one_runs(caplog):
    compute, ran = ComputeThread(), []

    async def inside() -> None:
        compute.offer(lambda: 1 // 0 and None)
        compute.offer(lambda: ran.append(1))
        await until(lambda: ran == [1])
        assert await compute.run(lambda: None, NEVER) is True

    within(inside())
    compute.close()
    assert caplog.text.count("ZeroDivisionError") == 1


def test_an_offered_job_that_hangs_costs_its_thread_and_no_request():
    hung, ran = Hung(most_lost=1), []

    async def inside() -> None:
        assert await hung.compute.run(lambda: None, NEVER) is True
        job = Hanging()
        hung.compute.offer(job)
        hung.compute.offer(lambda: ran.append("offered"))
        await until(job.begun.is_set)
        hung.clock.advance(149)
        assert hung.compute.look() == 1
        hung.clock.advance(1)
        hung.compute.look()
        await asyncio.sleep(0)
        assert (hung.compute.lost, hung.told, ran) == (1, [1], [])
        job.go_on.set()
        await until(lambda: hung.compute.lost == 0)
        assert await hung.compute.run(lambda: ran.append("request"), NEVER) is True
        await until(lambda: len(ran) == 2)

    within(inside())
    hung.compute.close()


def test_a_request_that_meets_an_offered_job_which_hangs_since_long_gets_a_fresh_thread_at_once():
    hung, ran = Hung(), []

    async def inside() -> None:
        job = Hanging()
        hung.compute.offer(job)
        hung.compute.offer(lambda: ran.append(threading.current_thread()))
        await until(job.begun.is_set)
        hung.clock.advance(60_000)
        assert await hung.compute.run(lambda: ran.append(threading.current_thread()), NEVER) is True
        await until(lambda: len(ran) == 2)
        assert ran[0] is ran[1] is not job.thread, "what was offered goes on there too"
        assert hung.compute.lost == 1
        job.go_on.set()
        await until(lambda: hung.compute.lost == 0)

    within(inside())
    hung.compute.close()


def test_jobs_offered_by_many_threads_at_once_all_run():
    compute, ran = ComputeThread(most_offered=4_000), []

    def offer() -> None:
        for _ in range(500):
            compute.offer(lambda: ran.append(1))

    async def inside() -> None:
        threads = [threading.Thread(target=offer) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert await compute.run(lambda: None, NEVER) is True
        await until(lambda: len(ran) == 4_000)

    within(inside())
    compute.close()
    assert compute._turn is None
    assert compute._queue.empty()


def test_at_closing_requests_are_done_and_what_was_offered_is_dropped():
    compute, ran = ComputeThread(), []

    async def inside() -> None:
        job = Hanging()
        await job.start(compute)
        for n in range(3):
            compute.offer(lambda n=n: ran.append(f"offered {n}"))
            asyncio.create_task(compute.run(lambda n=n: ran.append(n), NEVER))  # noqa: RUF006
        await asyncio.sleep(0)
        worker = compute._worker
        job.go_on.set()
        compute.close()
        compute.offer(lambda: ran.append("too late"))
        assert not worker.is_alive()
        assert ran == [0, 1, 2]
        assert not compute._offered

    within(inside())
    assert ran == [0, 1, 2]
