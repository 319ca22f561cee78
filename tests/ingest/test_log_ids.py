"""A log tells copies of its events whatever became of its index of ids, which is not flushed to the disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ingest.log_suite import event, events
from upnext.errors import StoreError
from upnext.ingest import id_index
from upnext.ingest.event_bytes import identity_of
from upnext.ingest.lmdb_log import LmdbEventLog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def boot_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "boot_id"
    path.write_text("first\n")
    monkeypatch.setattr(id_index, "_BOOT_ID", path)
    return path


@contextmanager
def opened(folder: Path) -> Iterator[LmdbEventLog]:
    log = LmdbEventLog(folder, map_size_bytes=1024 * 1024)
    yield log
    log.close()


def index_number(log: LmdbEventLog) -> int:
    return log._index._environment.read(log._index._state).number


def test_after_another_start_of_the_system_a_torn_index_is_not_looked_at_but_made_anew(
    folder: Path, boot_id: Path
) -> None:
    with opened(folder) as log:
        log.append([*events("e", 100), *(event(f"bob{number}", "bob") for number in range(10))])
        log.forget(["u:bob"])
    (folder / "ids-first" / "data.mdb").write_bytes(b"\xff" * 100_000)
    boot_id.write_text("second\n")
    with opened(folder) as log:
        assert not (folder / "ids-first").exists()
        assert index_number(log) == 100
        assert log.append([*events("e", 100), event("bob3", "bob"), event("new")]) == [None] * 101 + [111]


def test_the_index_is_flushed_only_where_starts_of_the_system_cannot_be_told_apart(folder: Path, boot_id: Path) -> None:
    with opened(folder) as log:
        assert not log._index._environment.durable
    boot_id.unlink()
    with opened(folder) as log:
        assert log._index._environment.durable


def test_ids_whose_process_died_between_commit_and_index_are_taken_in_by_whoever_appends_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    with opened(folder) as log:
        log.append(events("before", 5))
        with monkeypatch.context() as during:
            during.setattr(log._index, "add", full)
            assert log.append(events("e", 10)) == list(range(6, 16))
            assert index_number(log) == 5
            with pytest.raises(StoreError, match="full"):  # what it cannot check for copies it does not take
                log.append(events("e", 10))
        assert log.append([event("e3"), event("new"), event("before0")]) == [None, 16, None]
        assert index_number(log) == 16


def test_ids_of_a_slow_process_do_not_hide_that_others_are_lacking(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(folder) as log:
        log.append(events("before", 5))
        add = log._index.add
        with monkeypatch.context() as during:
            during.setattr(log._index, "add", lambda *_: None)
            log.append([*events("e", 10), event("slow")])
        add(15, 16, [identity_of(event("slow"))])
        assert index_number(log) == 5
        assert log.append([event("e3"), event("slow")]) == [None, None]


def test_opening_takes_in_what_the_index_lacks_in_chunks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_index, "_CHUNK", 7)
    with opened(folder) as log, monkeypatch.context() as during:
        during.setattr(log._index, "add", lambda *_: None)
        log.append(events("e", 23))
        assert index_number(log) == 0
    with opened(folder) as log:
        assert index_number(log) == 23
        assert log.append(events("e", 24)) == [None] * 23 + [24]


def test_events_that_an_older_copy_of_the_log_lacks_are_welcome_once_it_was_put_back(
    folder: Path, tmp_path: Path
) -> None:
    with opened(folder) as log:
        log.append(events("e", 10))
    shutil.copy(folder / "data.mdb", tmp_path / "copy")
    with opened(folder) as log:
        log.append(events("lost", 10))
    shutil.copy(tmp_path / "copy", folder / "data.mdb")
    with opened(folder) as log:
        assert log.append([event("e3"), event("lost3")]) == [None, 11]


def test_so_are_they_when_the_copy_went_another_course(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as log:
        log.append(events("e", 10))
    shutil.copytree(folder, tmp_path / "copy")
    with opened(folder) as log:
        log.append(events("lost", 10))
    with opened(tmp_path / "copy") as log:
        log.append(events("other", 10))
    shutil.copy(tmp_path / "copy" / "data.mdb", folder / "data.mdb")
    with opened(folder) as log:
        assert log.append([event("other3"), event("lost3")]) == [None, 21]


def test_a_new_log_in_the_place_of_an_old_one_knows_nothing_of_its_ids(folder: Path) -> None:
    with opened(folder) as log:
        log.append(events("e", 10))
    for path in folder.glob("*.mdb"):
        path.unlink()
    with opened(folder) as log:
        assert log.append(events("e", 3)) == [1, 2, 3]


def test_another_log_put_in_its_place_is_told_by_its_identity(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as log:
        log.append(events("e", 10))
    with opened(tmp_path / "other") as log:
        log.append([*events("other", 9), event("erased", "bob"), event("other9")])
        log.forget(["u:bob"])  # the tenth, by which the two could be told apart
    shutil.copy(tmp_path / "other" / "data.mdb", folder / "data.mdb")
    with opened(folder) as log:
        assert log.append([event("e3"), event("other3"), event("erased", "bob")]) == [12, None, None]


def test_erasing_the_newest_event_does_not_make_the_index_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder) as log:
        log.append([*events("e", 10), event("bob's", "bob")])
        log.forget(["u:bob"])
    monkeypatch.setattr(id_index.IdIndex, "_clear", lambda *_: pytest.fail("made anew"))
    with opened(folder) as log:
        assert index_number(log) == 11
        assert log.append([event("bob's", "bob"), event("e1"), event("new")]) == [None, None, 12]
        assert index_number(log) == 12


def test_an_index_behind_events_that_were_all_erased_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder) as log:
        with monkeypatch.context() as during:
            during.setattr(log._index, "add", lambda *_: None)
            log.append(events("e", 10))
        log.forget(["u:ann"])
        assert log.append([event("e1"), event("a", "bob")]) == [None, 11]
        assert log.append([event("e2"), event("a", "bob"), event("b", "bob")]) == [None, None, 12]
        assert log.append([event("b", "bob")]) == [None]
