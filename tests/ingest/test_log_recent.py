"""The log that remembers keeps every promise of a log, and serves what it remembers without asking."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.log_suite import EventLogSuite, events
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.ingest.log_interface import EventLog
from upnext.ingest.recent_log import RecentLog


class TestRecentLog(EventLogSuite):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[EventLog]:
        log = RecentLog(LmdbEventLog(tmp_path / "log"))
        yield log
        log.close()


@pytest.fixture
def inner(tmp_path: Path) -> Iterator[LmdbEventLog]:
    log = LmdbEventLog(tmp_path / "log")
    yield log
    log.close()


def test_what_was_appended_here_is_not_read_again(inner: LmdbEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log = RecentLog(inner)
    log.append(events("old", 3))
    log = RecentLog(inner)
    assert log.append([*events("a", 2), *events("old", 1)]) == [4, 5, None]
    log.append(events("b", 2))
    monkeypatch.setattr(inner, "read", lambda *_: pytest.fail("asked the log"))
    assert [number for number, _ in log.read(3, 10)] == [4, 5, 6, 7]
    assert [event.event_id for _, event in log.read(4, 2)] == ["a1", "b0"]
    monkeypatch.undo()
    assert [number for number, _ in log.read(1, 10)] == [2, 3, 4, 5, 6, 7]
    assert log.read(7, 10) == []


def test_what_another_process_appends_in_between_is_not_missed(inner: LmdbEventLog) -> None:
    log = RecentLog(inner)
    log.append(events("a", 2))
    inner.append(events("other", 2))
    log.append(events("b", 1))
    inner.append(events("later", 1))
    found, after = [], 0
    while batch := log.read(after, 2):
        found += [event.event_id for _, event in batch]
        after = batch[-1][0]
    assert found == ["a0", "a1", "other0", "other1", "b0", "later0"]


def test_what_is_remembered_is_bounded(inner: LmdbEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upnext.ingest.recent_log._MOST", 3)
    log = RecentLog(inner)
    log.append(events("a", 5))
    assert len(log._recent) == 3
    assert [number for number, _ in log.read(0, 10)] == [1, 2, 3, 4, 5]
