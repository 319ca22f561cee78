"""Lines of a user and their items become clicks in their order, and are told from tables."""

from pathlib import Path

import pytest

from tests.ingest.importing import read_all, write_gzip, write_zip
from upnext.clock import ManualClock
from upnext.errors import DataError
from upnext.ingest.importers.formats import guess_format, open_source
from upnext.ingest.importers.run import import_into
from upnext.ingest.importers.user_items import FIRST_MS, UserItems, read_user_items
from upnext.ingest.memory_log import MemoryEventLog
from upnext.ingest.records import Records

NOW_MS = 1_760_000_000_000
LINES = "0 10 12 11\n1 11\n2\n3 10 12 \n"


def written(folder: Path, text: str, name: str = "train.txt") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_each_item_of_a_line_is_a_click_of_its_user_in_rising_order_of_time(tmp_path: Path) -> None:
    got = read_all(UserItems(written(tmp_path, LINES)))
    clicks = [(event.user_id, event.item_id, event.timestamp_ms - FIRST_MS) for event in got.events]
    assert clicks == [("0", "10", 0), ("0", "12", 1), ("0", "11", 2), ("1", "11", 3), ("3", "10", 4), ("3", "12", 5)]
    assert {event.action for event in got.events} == {"click"}
    assert [item.item_id for item in got.items] == ["10", "12", "11"]


def test_a_sorted_line_comes_in_an_order_of_its_own_that_never_changes(tmp_path: Path) -> None:
    path = written(tmp_path, "0 " + " ".join(map(str, range(50))) + "\n1 " + " ".join(map(str, range(50))) + "\n")
    items = [event.item_id for event in read_all(UserItems(path)).events]
    first, second = items[:50], items[50:]
    assert sorted(first) == sorted(second)
    assert first != sorted(first, key=int)
    assert first != second
    assert items == [event.item_id for event in read_all(UserItems(path)).events]


def test_a_user_without_items_is_rejected_with_the_line(tmp_path: Path) -> None:
    got = read_all(UserItems(written(tmp_path, LINES)))
    assert got.reasons() == [(3, "no_items")]
    assert got.rejected[0].message == "line 3 names user 2 and no item"


def test_importing_the_same_pairs_again_under_another_name_adds_nothing(tmp_path: Path) -> None:
    log, records = MemoryEventLog(), Records(tmp_path / "records")
    for name in ("train.txt", "again.txt"):
        source = open_source(written(tmp_path, LINES, name), now_ms=NOW_MS)
        report = import_into(source, log, records, clock=ManualClock(NOW_MS))
    records.close()
    assert (report.format, report.accepted_events, report.duplicates) == ("user-items", 0, 6)
    assert report.rejected == {"no_items": 1}


def test_an_item_twice_in_a_users_line_is_one_event(tmp_path: Path) -> None:
    got = read_all(UserItems(written(tmp_path, "0 10 10\n")))
    assert len({event.event_id for event in got.events}) == 1


def test_an_id_that_breaks_the_contract_is_rejected_alone(tmp_path: Path) -> None:
    log, records = MemoryEventLog(), Records(tmp_path / "records")
    source = open_source(written(tmp_path, f"0 {'x' * 5_000} 11\n1 11\n"), now_ms=NOW_MS, format="user-items")
    report = import_into(source, log, records, clock=ManualClock(NOW_MS))
    records.close()
    assert report.accepted_events == 2
    assert sum(report.rejected.values()) == 2  # the item and the click on it


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LINES, "user-items"),
        ("0 1\n1 2\n2 0\n", "user-items"),  # all integers, each user with one item
        ("anna i1 i2\nbert i2\n", "user-items"),  # names, in differing number
        ("user item\nanna i1\nbert i2\n", "table"),
        ("user,item,action,time\n", "table"),
        ("user\titem\n1\t2\n", "table"),
        ("17\n18\n", "table"),
        ('{"user": 1}\n', "table"),
        ("", "table"),
    ],
)
def test_lines_of_ids_with_spaces_between_are_told_from_tables(tmp_path: Path, text: str, expected: str) -> None:
    assert guess_format(written(tmp_path, text)) == expected
    assert guess_format(write_gzip(tmp_path / "train.txt.gz", text)) == expected


def test_a_csv_of_numbers_stays_a_table(tmp_path: Path) -> None:
    assert guess_format(written(tmp_path, LINES, "numbers.csv")) == "table"


def test_of_a_folder_or_zip_with_a_test_part_the_training_part_is_imported(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"set/train.txt": LINES, "set/test.txt": "0 99\n"})
    assert guess_format(path) == "user-items"
    assert "99" not in {event.item_id for event in read_all(open_source(path, now_ms=NOW_MS)).events}


def test_several_files_without_a_training_part_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", {"a.txt": LINES, "b.txt": LINES})
    with pytest.raises(DataError, match=r"train\.txt"):
        read_all(UserItems(path))


def test_the_items_to_find_are_read_by_user_without_doubles(tmp_path: Path) -> None:
    assert read_user_items(written(tmp_path, "0 10 11 10\n1\n2 5\n0 12\n", "test.txt")) == {
        "0": ["10", "11", "12"],
        "2": ["5"],
    }


def test_a_line_that_is_no_text_ends_the_reading_of_items_to_find(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_bytes(b"0 1\n1 \xff\n")
    with pytest.raises(DataError, match="line 2"):
        read_user_items(tmp_path / "test.txt")
