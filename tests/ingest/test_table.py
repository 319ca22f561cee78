"""Tables of events and items in any file, with columns named, recognised or constant."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.ingest.importing import read_all, write_gzip
from upnext.domain.event import Event, Item
from upnext.errors import DataError
from upnext.ingest.importers.mapping import parse_assignments
from upnext.ingest.importers.table import Table
from upnext.ingest.importers.values import moment_ms, published_ms

MOMENT_MS = 1_700_000_000_000


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_usual_column_names_need_no_mapping(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", "visitorId,event,product_id,timestamp\nu1,click,i1,1700000000000\n")
    assert read_all(Table(path)).events == [
        Event(event_id="table:e.csv:2", action="click", timestamp_ms=MOMENT_MS, user_id="u1", item_id="i1")
    ]


def test_columns_constants_and_context_can_be_mapped(tmp_path: Path) -> None:
    path = write(tmp_path / "e.tsv", "who\twhat\twhen\tplatform\tid\nu1\ti1\t2023-11-14T22:13:20Z\ttv\te9\n")
    mapping = {
        "user": "who", "item": "what", "timestamp": "when", "action": "=purchase", "context.device": "platform",
        "event": "id",
    }  # fmt: skip
    assert read_all(Table(path, mapping)).events == [
        Event(
            event_id="e9", action="purchase", timestamp_ms=MOMENT_MS, user_id="u1", item_id="i1",
            context={"device": "tv"},
        )
    ]  # fmt: skip


def test_a_column_mapped_to_one_field_is_not_taken_for_another(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", "session,action,item,timestamp\ns1,click,i,1700000000\n")
    (event,) = read_all(Table(path, {"user": "session"})).events
    assert (event.user_id, event.session_id) == ("s1", None)


def test_json_lines_keep_their_nested_context(tmp_path: Path) -> None:
    line = '{"user":"u1","action":"click","item_id":7,"ts":1700000000,"value":"2.5","context":{"device":"tv"}}'
    read = read_all(Table(write_gzip(tmp_path / "e.jsonl.gz", line + "\n{broken\n[1]\n")))
    assert read.events[0].item_id == "7"
    assert read.events[0].value == 2.5
    assert read.events[0].context == {"device": "tv"}
    assert read.events[0].timestamp_ms == MOMENT_MS
    assert read.reasons() == [(2, "malformed_json"), (3, "malformed_json")]


def test_parquet_columns_of_any_type_are_read(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "user_id": pyarrow.array([1.0, None, 3.0]),
            "session_id": ["s1", "s2", None],
            "action": ["click"] * 3,
            "item_id": [10, 20, 30],
            "timestamp": pyarrow.array([datetime(2023, 11, 14, 22, 13, 20)] * 3, pyarrow.timestamp("us")),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "e.parquet")
    source = Table(tmp_path / "e.parquet")
    events = read_all(source).events
    assert [(event.user_id, event.session_id, event.item_id) for event in events] == [
        ("1", "s1", "10"),
        (None, "s2", "20"),
        ("3", None, "30"),
    ]
    assert events[0].timestamp_ms == MOMENT_MS
    assert (source.rows_read, source.fraction_read()) == (3, 1.0)


def test_rows_that_cannot_be_events_are_rejected_with_their_lines(tmp_path: Path) -> None:
    content = (
        "user,action,item,timestamp,value\nu,click,i,,\nu,,i,1700000000,\nu,click,i,soon,\nu,click,i,12,\n"
        "u,click,i,1700000000,much\nu,click\n"
    )
    assert read_all(Table(write(tmp_path / "e.csv", content))).reasons() == [
        (2, "missing_timestamp"), (3, "missing_action"), (4, "bad_value"), (5, "bad_value"), (6, "bad_value"),
        (7, "wrong_columns"),
    ]  # fmt: skip


def test_a_table_of_items_goes_with_the_events(tmp_path: Path) -> None:
    events = write(tmp_path / "e.csv", "user,action,item,timestamp\nu,click,i1,1700000000\n")
    items = write(
        tmp_path / "i.csv",
        "sku,name,category,price,year,stock,brand\n"
        'i1,"Red\nmug",Kitchen|Gifts,2.50,1999,no,Acme\ni2,,,,,,\n,x,,,,,\ni4,x,,cheap,,,\n',
    )
    mapping = {"published": "year", "available": "stock", "attributes.brand": "brand"}
    read = read_all(Table(events, None, items, mapping))
    assert read.items == [
        Item(
            item_id="i1", title="Red\nmug", genres=("Kitchen", "Gifts"), published_ms=915_148_800_000, price=2.5,
            available=False, attributes={"brand": "Acme"},
        ),
        Item(item_id="i2"),
    ]  # fmt: skip
    assert read.reasons() == [(5, "missing_item"), (6, "bad_value")]
    assert len(read.events) == 1


def test_a_column_that_is_not_there_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", "customer,action,item,timestamp\n")
    with pytest.raises(DataError, match="did you mean 'customer'"):
        Table(path, {"user": "custmer"})
    with pytest.raises(DataError, match="no field 'usr'"):
        Table(path, {"usr": "customer"})


def test_a_table_without_actions_is_refused_with_what_to_say(tmp_path: Path) -> None:
    path = write(tmp_path / "e.csv", "user,item,timestamp\n")
    with pytest.raises(DataError, match="--map action==view"):
        Table(path)


def test_files_that_are_no_table_are_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe\n")
    with pytest.raises(DataError, match="does not begin with text"):
        Table(tmp_path / "picture.png")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="Parquet"):
        Table(tmp_path / "cut.parquet")


@pytest.mark.parametrize("assignment", ["user", "=x", "user="])
def test_a_mapping_that_is_none_is_refused_with_an_example(assignment: str) -> None:
    with pytest.raises(DataError, match="--map user=customer_id"):
        parse_assignments([assignment], "--map")


@pytest.mark.parametrize(
    "cell",
    [
        1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000, "1700000000", "1700000000.0", 1.7e9,
        "2023-11-14T22:13:20+00:00", "2023-11-14 22:13:20", "2023-11-14 22:13:20 UTC", "2023-11-14T23:13:20+01:00",
        datetime(2023, 11, 14, 22, 13, 20), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    ],
)  # fmt: skip
def test_dates_are_understood_in_every_usual_form(cell: object) -> None:
    assert moment_ms(cell) == MOMENT_MS


@pytest.mark.parametrize("cell", ["", None, float("nan")])
def test_an_absent_date_is_none(cell: object) -> None:
    assert moment_ms(cell) is None


@pytest.mark.parametrize("cell", ["soon", 12, "inf", "2023-13-45", [1]])
def test_what_is_no_date_is_an_error(cell: object) -> None:
    with pytest.raises(ValueError):
        moment_ms(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("1999", 915_148_800_000), (1999.0, 915_148_800_000), ("1960-01-01", -315_619_200_000), (-1, -1000),
     (1_700_000_000, MOMENT_MS), (1_700_000_000_000, MOMENT_MS)],
)  # fmt: skip
def test_publication_may_be_a_year_or_lie_before_1970(cell: object, expected: int) -> None:
    assert published_ms(cell) == expected
