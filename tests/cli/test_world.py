"""What a home knows becomes arrays in catalogue rows: events, items, users, without what was deleted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from upnext.catalog.catalog import Catalog
from upnext.cli.pipeline.evaluation import _in_rows_of
from upnext.cli.pipeline.world import World, load_world
from upnext.domain.event import Event, Item, User
from upnext.domain.identity import key_of
from upnext.errors import DataError, TrainingError
from upnext.ingest.memory_log import MemoryEventLog
from upnext.ingest.records import Records


def click(number: int, item_id: str, user_id: str = "ann") -> Event:
    context = {"device": f"d{number}"}
    return Event(
        event_id=f"e{number}", action="click", timestamp_ms=number, user_id=user_id, item_id=item_id, context=context
    )


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path / "records")
    yield records
    records.close()


@pytest.fixture
def log() -> MemoryEventLog:
    log = MemoryEventLog()
    log.append([click(1, "a"), click(2, "gone"), click(3, "named only", "bob"), click(4, "blocked")])
    return log


def named(world: World) -> list[str | None]:
    return [world.columns.items[row] if row >= 0 else None for row in world.columns.item]


def test_deleted_items_are_not_in_the_catalogue_and_blocked_and_merely_named_ones_are(
    log: MemoryEventLog, records: Records
) -> None:
    records.put_items([Item(item_id="a", title="A"), Item(item_id="gone"), Item(item_id="blocked", blocked=True)])
    records.delete_items(["gone", "never there"])
    world = load_world(log, records)
    assert world.items == [
        Item(item_id="a", title="A"), Item(item_id="blocked", blocked=True), Item(item_id="named only"),
    ]  # fmt: skip
    assert world.catalog.n_items == 3
    assert named(world) == ["a", None, "named only", "blocked"]
    assert world.records_revision == records.revision() == 5


def test_users_are_matched_to_the_subjects_of_events(log: MemoryEventLog, records: Records) -> None:
    records.put_users([User(user_id="bob", attributes={"age": 3}), User(user_id="cleo")])
    assert load_world(log, records).users == [None, User(user_id="bob", attributes={"age": 3})]


def test_a_world_up_to_an_event_has_columns_of_one_length_and_only_items_named_by_then(
    log: MemoryEventLog, records: Records
) -> None:
    columns = load_world(log, records, until_sequence=2, contexts=("device", "region")).columns
    assert columns.items == ["a", "gone"]
    assert columns.users == ["u:ann"]
    assert [columns.context_of(event)[0] for event in range(2)] == [key_of("device=d1"), key_of("device=d2")]
    assert columns.context.shape == (len(columns), 2)


def test_without_events_or_items_there_is_nothing_to_learn_from(log: MemoryEventLog, records: Records) -> None:
    with pytest.raises(DataError, match="upnext import"):
        load_world(MemoryEventLog(), records)
    records.delete_items(["a", "gone", "named only", "blocked"])
    with pytest.raises(DataError, match="upnext import"):
        load_world(log, records)


def test_in_rows_of_an_older_release_items_posted_since_are_not_there_and_deleted_ones_are_bare(
    log: MemoryEventLog, records: Records
) -> None:
    release = Catalog.build([Item(item_id=each) for each in ("gone", "blocked", "named only", "a")])
    records.put_items([Item(item_id="posted since"), Item(item_id="a", title="A")])
    records.delete_items(["gone"])
    world = _in_rows_of(load_world(log, records), release)
    assert world.items == [
        Item(item_id="gone"), Item(item_id="blocked"), Item(item_id="named only"), Item(item_id="a", title="A"),
    ]  # fmt: skip
    assert world.columns.item.tolist() == [3, -1, 2, 1]
    assert named(world) == ["a", None, "named only", "blocked"]


def test_events_of_items_that_a_release_does_not_know_are_refused(log: MemoryEventLog, records: Records) -> None:
    release = Catalog.build([Item(item_id=each) for each in ("gone", "blocked", "a")])
    with pytest.raises(TrainingError, match="'named only'"):
        _in_rows_of(load_world(log, records), release)
