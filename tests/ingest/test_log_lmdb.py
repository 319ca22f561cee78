"""The LMDB log keeps the promise of all event logs, also across processes, restarts and kills."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from tests.ingest.log_suite import EventLogSuite, event, events
from upnext.errors import StoreError
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.log_interface import EventLog
from upnext.store.lmdb_store import LmdbStore

WORKER = Path(__file__).with_name("log_worker.py")
SMALL_MAP_BYTES = 256 * 1024


def start(folder: Path, name: str, count: int, group: int, *more: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(folder), name, str(count), str(group), *map(str, more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def lines_until_end(worker: subprocess.Popen[str]) -> list[str]:
    with worker:
        assert worker.stdout is not None
        return worker.stdout.read().splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


class TestLmdbEventLog(EventLogSuite):
    @pytest.fixture
    def log(self, folder: Path) -> Iterator[EventLog]:
        log = LmdbEventLog(folder, map_size_bytes=SMALL_MAP_BYTES)
        yield log
        log.close()


def test_events_numbers_and_known_ids_are_there_after_opening_again(folder: Path) -> None:
    log = LmdbEventLog(folder)
    log.append(events("e", 10))
    log.close()
    log = LmdbEventLog(folder)
    assert log.last() == 10
    assert log.append([event("e3"), event("new")]) == [None, 11]
    log.close()


def test_two_processes_appending_at_once_get_distinct_increasing_numbers(folder: Path) -> None:
    workers = [start(folder, name, 30, 20) for name in ("left", "right")]
    reported = [[int(line.split()[0]) for line in lines_until_end(worker)] for worker in workers]
    log = LmdbEventLog(folder)
    found = list(log.scan())
    assert [number for number, _ in found] == list(range(1, 1201))
    for name, numbers in zip(("left", "right"), reported, strict=True):
        assert numbers == sorted(numbers)
        ours = [(number, each.event_id) for number, each in found if each.event_id.startswith(name)]
        assert [event_id for _, event_id in ours] == [f"{name}{number}" for number in range(600)]
        assert {number for number, _ in ours} >= set(numbers)
    log.close()


def test_two_processes_appending_the_same_events_put_each_in_once(folder: Path) -> None:
    for worker in [start(folder, "same", 30, 20) for _ in range(2)]:
        lines_until_end(worker)
    log = LmdbEventLog(folder)
    assert [each.event_id for _, each in log.scan()] == [f"same{number}" for number in range(600)]
    log.close()


def test_whenever_a_process_is_killed_all_it_reported_is_there_once_and_its_last_group_whole_or_absent(
    folder: Path,
) -> None:
    expected: list[str] = []
    for round_, groups in enumerate((1, 20, 3, 50)):
        name = f"round{round_}-"
        worker = start(folder, name, 1_000_000, 7)
        assert worker.stdout is not None
        reported = [worker.stdout.readline() for _ in range(groups)]
        worker.kill()
        reported += lines_until_end(worker)
        last = int(reported[-1].split()[0])
        log = LmdbEventLog(folder)
        assert log.last() in (last, last + 7)
        expected += [f"{name}{number}" for number in range(log.last() - len(expected))]
        assert [each.event_id for _, each in log.scan()] == expected
        assert log.of_subject("u:ann") == list(log.scan())
        assert log.append([event(expected[0]), event(f"after{round_}")]) == [None, len(expected) + 1]
        expected.append(f"after{round_}")
        log.close()


def test_an_append_that_finds_the_disk_full_loses_nothing_and_works_once_there_is_room(folder: Path) -> None:
    log = LmdbEventLog(folder)
    log.append(events("before", 10))
    log.close()
    lines = lines_until_end(start(folder, "e", 40, 500, 300_000))
    failed = [at for at, line in enumerate(lines) if line.startswith("failed")]
    assert len(failed) == 1
    assert "LMDB at" in lines[failed[0]]
    n_before = 10 + 500 * failed[0]
    assert n_before > 10
    assert lines[failed[0] + 1] == f"readable {n_before} {n_before}"
    assert lines[failed[0] + 2].split()[0] == str(n_before + 500)
    log = LmdbEventLog(folder)
    expected = [f"before{number}" for number in range(10)] + [f"e{number}" for number in range(40 * 500)]
    assert [each.event_id for _, each in log.scan()] == expected
    assert log.of_subject("u:ann") == list(log.scan())
    log.close()


def test_two_logs_have_two_identities_and_a_log_keeps_its_own_when_opened_again(folder: Path, tmp_path: Path) -> None:
    log, other = LmdbEventLog(folder), LmdbEventLog(tmp_path / "other")
    identity = log.identity()
    assert other.identity() != identity
    log.close()
    other.close()
    log = LmdbEventLog(folder)
    assert log.identity() == identity
    log.close()


def test_a_log_of_a_version_without_identity_and_index_gets_both_when_opened(folder: Path) -> None:
    log = LmdbEventLog(folder)
    log.append([event(f"e{number}", f"u{number % 7}") for number in range(5_000)])
    expected = log.of_subject("u:u3")
    log.close()
    with lmdb.open(str(folder), max_dbs=8) as raw:
        for name in (b"subjects", b"meta"):
            database = raw.open_db(name)
            with raw.begin(write=True) as transaction:
                transaction.drop(database)
    log = LmdbEventLog(folder)
    assert len(log.identity()) >= 32
    assert log.of_subject("u:u3") == expected
    log.close()


def test_what_was_erased_stays_erased_and_its_numbers_used_after_opening_again(folder: Path) -> None:
    log = LmdbEventLog(folder)
    log.append(events("e", 10))
    log.forget(["u:ann"])
    log.close()
    log = LmdbEventLog(folder)
    assert (log.last(), log.count(), log.read(0, 10)) == (10, 0, [])
    assert log.append([event("e3"), event("new")]) == [None, 11]
    log.close()


def test_the_log_is_open_durably(folder: Path) -> None:
    log = LmdbEventLog(folder)
    with pytest.raises(StoreError, match="durable=True"):
        LmdbStore(folder, durable=False)
    log.close()


def test_an_append_that_fails_leaves_the_log_as_it_was(folder: Path) -> None:
    log = LmdbEventLog(folder)
    with pytest.raises(TypeError):
        log.append([event("a"), event("b", context={"cannot be encoded": object()})])
    assert log.last() == 0
    assert log.append([event("a")]) == [1]
    log.close()


def test_an_event_that_cannot_be_read_is_named(folder: Path) -> None:
    log = LmdbEventLog(folder)
    log.append(events("e", 3))
    log.close()
    with lmdb.open(str(folder), max_dbs=8) as raw:
        numbers = raw.open_db(b"events")
        with raw.begin(write=True) as transaction:
            transaction.put((2).to_bytes(8, "big"), b"\xc1", db=numbers)
    log = LmdbEventLog(folder)
    with pytest.raises(StoreError, match="event 2 of the log cannot be read"):
        list(log.scan())
    log.close()
