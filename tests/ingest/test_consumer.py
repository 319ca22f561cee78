"""A consumer sees every event, in order, wherever it runs; again after a crash, and never two processes at once."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from upnext.clock import Deadline, ManualClock, SystemClock
from upnext.domain.event import Event
from upnext.errors import StoreError
from upnext.ingest.consumer import Consumer, stored_generation
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.recent_log import RecentLog
from upnext.store.memory_store import MemoryStore

NEVER = Deadline.never(SystemClock())
WORKER = Path(__file__).parent / "consumer_worker.py"


def events(*names: str) -> list[Event]:
    return [Event(event_id=name, action="click", timestamp_ms=0, user_id="ann", item_id="a") for name in names]


class Watched(MemoryStore):
    """Counts reads, and fails writes while told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.broken = False

    def get_many(self, keys, deadline):
        self.reads += 1
        return super().get_many(keys, deadline)

    def compare_and_set(self, key, expected, value, deadline):
        if self.broken:
            raise StoreError("broken on purpose")
        return super().compare_and_set(key, expected, value, deadline)


class Setting:
    """A log of five events, a store, and consumers over them that note what they get."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = LmdbEventLog(home / "log")
        self.store = Watched()
        self.batches: list[list[int]] = []
        self.log.append(events("a", "b", "c", "d", "e"))

    def note(self, got) -> None:
        self.batches.append([sequence for sequence, _ in got])

    def consumer(self, handle=None, *, log=None, batch_events: int = 2, clock=None) -> Consumer:
        folder, clock = self.home / "consumers", clock or SystemClock()
        return Consumer("c", log or self.log, self.store, handle or self.note, folder, clock, batch_events=batch_events)

    def hold_the_lock(self) -> int:
        """As another process would; close what is returned to let go."""
        file = os.open(self.home / "consumers" / "c.lock", os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX)
        return file


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    setting = Setting(tmp_path)
    yield setting
    setting.log.close()


def test_every_event_is_handled_once_in_batches_in_the_order_of_the_log(setting):
    consumer = setting.consumer()
    assert consumer.offset() == 0
    assert consumer.catch_up() == 5
    assert setting.batches == [[1, 2], [3, 4], [5]]
    assert consumer.catch_up() == 5
    assert len(setting.batches) == 3


def test_another_consumer_of_that_name_goes_on_where_the_first_was(setting):
    setting.consumer().catch_up()
    setting.log.append(events("f"))
    second = setting.consumer()
    assert second.offset() == 5
    assert second.catch_up() == 6
    assert setting.batches[-1] == [6]


def test_it_goes_no_further_than_asked(setting):
    consumer = setting.consumer()
    assert consumer.catch_up(3) == 3
    assert setting.batches == [[1, 2], [3]]
    assert consumer.offset() == 3
    assert consumer.catch_up(2) == 3
    assert consumer.catch_up(99) == 5  # as far as the log goes; what comes later is not skipped
    setting.log.append(events("f"))
    assert consumer.catch_up(6) == 6
    assert setting.batches[2:] == [[4, 5], [6]]


def test_events_whose_handling_was_not_noted_come_again(setting):
    consumer = setting.consumer()
    consumer.catch_up(2)
    setting.store.broken = True  # handled, then a crash before the offset is stored
    with pytest.raises(StoreError, match="on purpose"):
        consumer.catch_up()
    setting.store.broken = False
    assert setting.consumer().catch_up() == 5
    assert setting.batches == [[1, 2], [3, 4], [3, 4], [5]]


def test_a_handler_that_raises_leaves_the_offset_and_does_not_keep_the_lock(setting):
    def fail(got) -> None:
        raise RuntimeError("broken on purpose")

    failing = setting.consumer(fail)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="on purpose"):
            failing.catch_up()
    assert failing.offset() == 0
    assert setting.consumer().catch_up(wait=False) == 5


def test_events_deleted_from_the_log_do_not_stop_it(setting):
    setting.log.append([Event(event_id="g", action="click", timestamp_ms=0, user_id="bob", item_id="a")])
    setting.log.append(events("h"))
    gaps = {2, 3, 5, 7}

    class Holes:
        """The log without some of its events."""

        identity, last = setting.log.identity, setting.log.last

        def read(self, after, limit):
            return [each for each in setting.log.read(after, 100) if each[0] not in gaps][:limit]

    consumer = setting.consumer(log=Holes())
    assert consumer.catch_up() == 7
    assert [sequence for batch in setting.batches for sequence in batch] == [1, 4, 6]


def test_an_offset_of_another_log_is_refused(setting, tmp_path):
    setting.consumer().catch_up()
    other = LmdbEventLog(tmp_path / "other")
    other.append(events("a"))
    with pytest.raises(StoreError, match="belongs to event log"):
        setting.consumer(log=other).catch_up()
    other.close()
    assert len(setting.batches) == 3


def test_a_log_that_ends_before_the_offset_is_refused(setting):
    consumer = setting.consumer()
    consumer.offset()
    consumer.skip_to(9, consumer.generation)
    with pytest.raises(StoreError, match="has handled event 9, but the log ends with 5"):
        setting.consumer().catch_up()


def test_when_nothing_is_new_the_store_is_not_asked(setting):
    consumer = setting.consumer()
    consumer.catch_up()
    setting.store.reads = 0
    assert consumer.catch_up() == 5
    assert consumer.catch_up(4) == 5
    assert setting.store.reads == 0


def test_without_waiting_it_leaves_the_work_to_whoever_is_at_it(setting):
    consumer = setting.consumer()
    file = setting.hold_the_lock()
    assert consumer.catch_up(wait=False) == 0
    os.close(file)
    assert consumer.catch_up(wait=False) == 5


class Passing(ManualClock):
    """A millisecond goes by at every look."""

    def monotonic_ms(self) -> float:
        self.advance(1)
        return super().monotonic_ms()


def test_it_waits_no_longer_than_the_deadline(setting):
    clock = Passing()
    consumer = setting.consumer(clock=clock)
    file = setting.hold_the_lock()
    assert consumer.catch_up(5, Deadline.after(clock, 10)) == 0
    os.close(file)
    assert setting.batches == []


def test_the_deadline_is_looked_at_between_batches(setting):
    clock = ManualClock()

    def slow(got) -> None:
        setting.note(got)
        clock.advance(6)

    assert setting.consumer(slow).catch_up(deadline=Deadline.after(clock, 10)) == 4
    assert setting.batches == [[1, 2], [3, 4]]


def test_who_waits_returns_when_another_process_has_got_that_far(setting):
    waiting, other = setting.consumer(), setting.consumer()
    other.offset()
    other.skip_to(4, other.generation)
    file = setting.hold_the_lock()
    assert waiting.catch_up(3) == 4  # without ever getting the lock
    os.close(file)
    assert setting.batches == []


def test_many_threads_may_catch_up_at_once(setting):
    inside = threading.Lock()
    overlaps: list[int] = []

    def handle(got) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(got[0][0])
            return
        setting.note(got)
        inside.release()

    shared, own = setting.consumer(handle), setting.consumer(handle)

    def work(name: str, consumer: Consumer) -> None:
        for number in range(30):
            (sequence,) = setting.log.append(events(f"{name}{number}"))
            assert sequence is not None
            if consumer.catch_up(sequence) < sequence:
                overlaps.append(-1)

    threads = [threading.Thread(target=work, args=each) for each in (("x", shared), ("y", shared), ("z", own))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == []
    assert [sequence for batch in setting.batches for sequence in batch] == list(range(1, 96))


def test_two_processes_handle_every_event_once_and_in_order(tmp_path):
    commands = [[sys.executable, str(WORKER), str(tmp_path), name, "60"] for name in ("x", "y")]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    assert [worker.stdout.readline() for worker in workers] == ["open\n", "open\n"]
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert [worker.communicate(timeout=60)[0] for worker in workers] == ["0\n", "0\n"]
    handled = [int(line) for line in (tmp_path / "handled").read_text().split()]
    assert handled == list(range(1, 121))


def everything_in(store) -> list[bytes]:
    return [key for key, _ in store.scan(b"")]


def test_a_store_that_lost_all_it_had_has_everything_handled_again_in_a_new_generation(setting):
    consumer = setting.consumer()
    consumer.catch_up()
    first, setting.batches[:] = consumer.generation, []
    setting.store.delete_many(everything_in(setting.store), NEVER)
    assert consumer.offset() == 0
    assert consumer.catch_up() == 5
    assert setting.batches == [[1, 2], [3, 4], [5]]
    assert consumer.generation != first


def test_a_store_that_loses_all_while_events_are_handled_has_everything_handled_again(setting):
    seen: list[tuple[int, list[int]]] = []

    def handle(got) -> None:
        seen.append((consumer.generation, [sequence for sequence, _ in got]))
        if len(seen) == 2:
            setting.store.delete_many(everything_in(setting.store), NEVER)

    consumer = setting.consumer(handle)
    assert consumer.catch_up() == 5
    assert [numbers for _, numbers in seen] == [[1, 2], [3, 4], [1, 2], [3, 4], [5]]
    generations = [generation for generation, _ in seen]
    assert generations[0] == generations[1] != generations[2] == generations[4]
    assert stored_generation(consumer.name, setting.store, NEVER) == generations[4]


def test_what_was_handled_by_other_means_before_a_loss_is_handled_again(setting):
    consumer = setting.consumer()
    consumer.offset()
    before = consumer.generation
    setting.store.delete_many(everything_in(setting.store), NEVER)
    consumer.skip_to(4, before)
    assert consumer.catch_up() == 5
    assert setting.batches == [[1, 2], [3, 4], [5]]


def test_a_log_that_gives_fewer_events_than_it_could_has_none_passed_over(setting, monkeypatch):
    whole = setting.log.read
    monkeypatch.setattr(setting.log, "read", lambda after, limit: whole(after, 1))
    assert setting.consumer().catch_up() == 5
    assert setting.batches == [[1], [2], [3], [4], [5]]


def test_two_workers_that_remember_what_they_append_pass_over_no_event_of_the_other(setting, tmp_path):
    mine, other = RecentLog(setting.log), RecentLog(setting.log)
    seen: list[int] = []
    consumer = setting.consumer(lambda got: seen.extend(sequence for sequence, _ in got), log=mine)
    consumer.catch_up()
    mine.append(events("mine"))
    other.append(events("other"))
    mine.append(events("mine too"))
    other.append(events("other too"))
    assert consumer.catch_up() == 9
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8, 9]
