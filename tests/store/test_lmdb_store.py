"""The LMDB store keeps the promise of all stores, also across processes, restarts, kills and growth."""

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.store.suite import NEVER, ProcessSuite, WaitingStoreSuite
from upnext.clock import ManualClock
from upnext.errors import StoreError
from upnext.store.interface import Store
from upnext.store.lmdb_store import LmdbStore

WORKER = Path(__file__).with_name("lmdb_worker.py")
SMALL_MAP_BYTES = 64 * 1024


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(folder), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(worker: subprocess.Popen[str], *, kill: bool = False) -> list[str]:
    """The lines of its output not read yet, once it has ended."""
    if kill:
        worker.kill()
    with worker:
        assert worker.stdout is not None
        lines = worker.stdout.read().splitlines()
    assert kill or worker.returncode == 0
    return lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state"


class TestLmdbStore(WaitingStoreSuite, ProcessSuite):
    @pytest.fixture
    def store(self, clock: ManualClock, folder: Path) -> Iterator[Store]:
        store = LmdbStore(folder, clock, map_size_bytes=SMALL_MAP_BYTES)
        yield store
        store.close()


def test_what_was_put_is_there_after_closing_and_opening_again(folder: Path) -> None:
    with_ttl = ManualClock()
    store = LmdbStore(folder, with_ttl)
    store.put_many([(b"a", b"1")], NEVER)
    store.put_many([(b"b", b"2")], NEVER, ttl_ms=10)
    store.close()
    with_ttl.advance(10)
    store = LmdbStore(folder, with_ttl)
    assert list(store.scan(b"")) == [(b"a", b"1")]
    store.close()


def test_opening_a_folder_twice_in_one_process_shares_it_until_both_are_closed(folder: Path) -> None:
    one, two = LmdbStore(folder), LmdbStore(folder.parent / "." / folder.name)
    one.put_many([(b"a", b"1")], NEVER)
    one.close()
    assert two.get_many([b"a"], NEVER) == [b"1"]
    with pytest.raises(StoreError, match="closed"):
        one.get_many([b"a"], NEVER)
    two.close()


def test_opening_with_another_durability_is_refused(folder: Path) -> None:
    store = LmdbStore(folder, durable=True)
    with pytest.raises(StoreError, match="durable"):
        LmdbStore(folder)
    store.close()


def test_the_map_grows_under_writers_while_readers_and_scans_go_on(folder: Path) -> None:
    store = LmdbStore(folder, map_size_bytes=SMALL_MAP_BYTES)
    store.put_many([(b"seen%04d" % number, b"x" * 10) for number in range(2000)], NEVER)
    stop = threading.Event()

    def read() -> int:
        rounds = 0
        while not stop.is_set():
            assert len(list(store.scan(b"seen"))) == 2000
            assert store.get_many([b"seen0007"], NEVER) == [b"x" * 10]
            rounds += 1
        return rounds

    # One reader: two that never pause hand the interpreter's lock to and fro and starve the writer for minutes.
    with ThreadPoolExecutor(1) as pool:
        readers = [pool.submit(read)]
        try:
            for number in range(20):
                store.put_many([(b"grow%d" % number, bytes(1_000_000))], NEVER)
        finally:
            stop.set()
        assert all(reader.result() > 0 for reader in readers)
    assert sum(1 for _ in store.scan(b"grow")) == 20
    store.close()


def test_growth_by_another_process_is_followed_by_readers_and_writers(folder: Path) -> None:
    store = LmdbStore(folder, map_size_bytes=SMALL_MAP_BYTES)
    store.put_many([(b"a", b"1")], NEVER)
    finish(start(folder, "fill", "8"))
    assert store.get_many([b"a", b"fill7"], NEVER) == [b"1", bytes(1024 * 1024)]
    store.put_many([(b"b", b"2")], NEVER)
    finish(start(folder, "fill", "32"))
    store.put_many([(b"c", b"3")], NEVER)
    assert store.get_many([b"a", b"b", b"c", b"fill31"], NEVER) == [b"1", b"2", b"3", bytes(1024 * 1024)]
    store.close()


def test_what_a_killed_process_had_put_is_there_and_its_last_put_is_whole(folder: Path) -> None:
    worker = start(folder, "put_forever")
    assert worker.stdout is not None
    reported = [worker.stdout.readline() for _ in range(50)] + finish(worker, kill=True)
    last = int(reported[-1])
    store = LmdbStore(folder)
    number, twin = store.get_many([b"n", b"twin"], NEVER)
    assert number == twin
    assert number is not None
    assert int(number) in (last, last + 1)
    store.close()


def test_a_process_killed_inside_an_update_leaves_nothing_locked_and_nothing_written(folder: Path) -> None:
    store = LmdbStore(folder)
    worker = start(folder, "hold")
    assert worker.stdout is not None
    assert [worker.stdout.readline().strip() for _ in range(2)] == ["open", "inside"]
    finish(worker, kill=True)
    store.put_many([(b"free", b"1")], NEVER)
    assert store.get_many([b"held", b"free"], NEVER) == [None, b"1"]
    store.close()


def test_expired_values_nobody_asks_for_are_dropped_by_later_writes(folder: Path) -> None:
    clock = ManualClock()
    store = LmdbStore(folder, clock, map_size_bytes=SMALL_MAP_BYTES)
    for number in range(400):
        store.put_many([(b"shortlist%d" % number, bytes(50_000))], NEVER, ttl_ms=10)
        clock.advance(1)
    assert (folder / "data.mdb").stat().st_size < 3_000_000
    store.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_carried_over_a_fork_is_refused_with_what_to_do(folder: Path) -> None:
    store = LmdbStore(folder)
    store.put_many([(b"a", b"1")], NEVER)
    receiver, sender = multiprocessing.Pipe()
    child = os.fork()
    if child == 0:
        said = []
        for attempt in (lambda: store.get_many([b"a"], NEVER), lambda: LmdbStore(folder)):
            try:
                said.append(str(attempt()))
            except StoreError as error:
                said.append(str(error))
        store.close()
        sender.send(said)
        os._exit(0)
    os.waitpid(child, 0)
    used, opened = receiver.recv()
    assert "fork" in used
    assert "spawn" in used
    assert "spawn" in opened
    assert store.get_many([b"a"], NEVER) == [b"1"]
    store.close()


def test_a_damaged_folder_is_refused_with_its_name_and_what_to_do(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=r"state is damaged.*move it away"):
        LmdbStore(folder)


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        LmdbStore(tmp_path / "file" / "state")
