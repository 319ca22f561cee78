"""What is exported is what is there, typed, and comes back by an import."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from upnext.clock import ManualClock
from upnext.domain.event import Event, Item, User
from upnext.errors import DataError
from upnext.ingest import export
from upnext.ingest.export import EVENT_SCHEMA, ITEM_SCHEMA, USER_SCHEMA, event_batches, item_batches, user_batches
from upnext.ingest.importers.formats import open_source
from upnext.ingest.importers.run import import_into
from upnext.ingest.memory_log import MemoryEventLog
from upnext.ingest.parquet import write_parquet
from upnext.ingest.records import Records

NOW_MS = 1_760_000_000_000
FULL = Event(
    event_id="é1", action="purchase", timestamp_ms=NOW_MS - 5, user_id="u", session_id="s", item_id="0042",
    request_id="r", value=0.1, query="two words", context={"mode": "fast", "position": 3},
    tenant="shop", consent=False, producer="web", schema_version=3,
)  # fmt: skip
BARE = Event(event_id="2", action="app_open", timestamp_ms=NOW_MS - 4, session_id="s")


def click(number: int, user_id: str = "ann") -> Event:
    return Event(event_id=f"e{number}", action="click", timestamp_ms=NOW_MS - number, user_id=user_id, item_id="i")


def exported(log: MemoryEventLog, path: Path, **bounds: int) -> pa.Table:
    write_parquet(path, EVENT_SCHEMA, event_batches(log, **bounds))  # type: ignore[arg-type]
    return pq.read_table(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.parquet"


def test_every_field_of_an_event_has_a_typed_column(path: Path) -> None:
    log = MemoryEventLog()
    log.append([FULL, BARE])
    table = exported(log, path)
    assert table.schema.equals(EVENT_SCHEMA)
    full, bare = table.to_pylist()
    assert full.pop("timestamp_ms").timestamp() == (NOW_MS - 5) / 1000
    assert full == {
        "sequence": 1, "event_id": "é1", "action": "purchase", "user_id": "u", "session_id": "s", "item_id": "0042",
        "request_id": "r", "value": 0.1, "query": "two words", "context": '{"mode":"fast","position":3}',
        "tenant": "shop", "consent": False, "producer": "web", "schema_version": 3,
    }  # fmt: skip
    assert [name for name in bare if bare[name] is None] == [
        "user_id", "item_id", "request_id", "value", "query", "context",
    ]  # fmt: skip


def test_an_import_of_the_export_gives_the_same_events_every_time(path: Path, records: Records) -> None:
    log, again = MemoryEventLog(), MemoryEventLog()
    consenting = msgspec.structs.replace(FULL, consent=True)
    log.append([consenting, BARE, *(click(number) for number in range(100))])
    exported(log, path)
    for expected in ((102, 0), (0, 102)):
        source = open_source(path, now_ms=NOW_MS)
        report = import_into(source, again, records, clock=ManualClock(NOW_MS))
        assert (report.accepted_events, report.duplicates, report.rejected) == (*expected, {})
    fields = [name for name in Event.__struct_fields__ if name != "schema_version"]  # which the import sets
    assert [[getattr(event, name) for name in fields] for _, event in again.scan()] == [
        [getattr(event, name) for name in fields] for _, event in log.scan()
    ]


def test_an_import_of_exported_items_and_the_records_they_came_from_are_equal(tmp_path: Path, records: Records) -> None:
    items = [
        Item(
            item_id="007", title="é|;,", genres=("a b", "c"), text="t", published_ms=-86_400_000, price=0.1,
            regions=("de", "fr"), available=False, promoted=True, attributes={"pages": 3}, tenant="shop",
        ),
        Item(item_id="b"),
    ]  # fmt: skip
    path = tmp_path / "items.parquet"
    assert write_parquet(path, ITEM_SCHEMA, item_batches(items)) == 2
    import_into(open_source(path, now_ms=NOW_MS, format="items"), MemoryEventLog(), records, clock=ManualClock(NOW_MS))
    assert list(records.items()) == items


def test_users_are_exported_with_their_attributes(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    write_parquet(path, USER_SCHEMA, user_batches([User(user_id="u", attributes={"age": 3}), User(user_id="v")]))
    assert pq.read_table(path).to_pylist() == [
        {"user_id": "u", "attributes": '{"age":3}', "tenant": "default"},
        {"user_id": "v", "attributes": None, "tenant": "default"},
    ]


def test_bounds_of_place_and_time_choose_events_and_erased_ones_are_not_in(path: Path) -> None:
    log = MemoryEventLog()
    log.append([click(number, f"u{number % 2}") for number in range(10)])
    assert exported(log, path, after=7)["sequence"].to_pylist() == [8, 9, 10]
    assert exported(log, path, after=2, last=4)["sequence"].to_pylist() == [3, 4]
    assert exported(log, path, since_ms=NOW_MS - 2)["sequence"].to_pylist() == [1, 2, 3]
    assert exported(log, path, since_ms=NOW_MS - 4, until_ms=NOW_MS - 2)["event_id"].to_pylist() == ["e3", "e4"]
    log.forget(["u:u1"])
    assert exported(log, path)["sequence"].to_pylist() == [1, 3, 5, 7, 9]
    assert exported(log, path, after=99).num_rows == 0


def test_a_long_log_is_written_in_batches_and_progress_told_of_each(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "BATCH_ROWS", 10)
    log = MemoryEventLog()
    log.append([click(number) for number in range(25)])
    told: list[int] = []
    assert write_parquet(path, EVENT_SCHEMA, event_batches(log), told.append) == 25
    assert told == [10, 20, 25]
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [10, 10, 5]
    assert file.read()["sequence"].to_pylist() == list(range(1, 26))
    file.close()


def test_an_export_that_fails_leaves_the_file_before_and_nothing_else(path: Path) -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield from user_batches([User(user_id="new")])
        raise OSError(28, "No space left on device")

    write_parquet(path, USER_SCHEMA, user_batches([User(user_id="old")]))
    with pytest.raises(DataError, match="No space left"):
        write_parquet(path, USER_SCHEMA, failing())
    assert pq.read_table(path)["user_id"].to_pylist() == ["old"]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(DataError, match="check the folder"):
        write_parquet(path.parent / "nowhere" / "file", USER_SCHEMA, [])
