"""The real data sets give exactly the counts they are published with."""

import gzip
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from upnext.clock import ManualClock
from upnext.domain.event import Event
from upnext.ingest.importers.formats import guess_format, open_source
from upnext.ingest.importers.run import ImportReport, import_into
from upnext.ingest.records import Records

CLOCK = ManualClock(1_760_000_000_000)
GLOBO = "globo-clicks-2017-10-01_to_12.csv.gz"


class CountingLog:
    """Takes events without keeping them; remembers counts, order and whether an id came twice."""

    def __init__(self) -> None:
        self.actions: Counter[str] = Counter()
        self.ids: set[int] = set()
        self.in_order = True
        self._latest_ms = -1

    def append(self, events: list[Event]) -> list[int | None]:
        for event in events:
            self.actions[event.action] += 1
            self.ids.add(hash(event.event_id))
            self.in_order &= event.timestamp_ms >= self._latest_ms
            self._latest_ms = event.timestamp_ms
        return list(range(1, len(events) + 1))


def imported(path: Path, records: Records) -> tuple[ImportReport, CountingLog]:
    log = CountingLog()
    source = open_source(path, now_ms=CLOCK.now_ms())
    report = import_into(source, log, records, clock=CLOCK)  # type: ignore[arg-type]
    assert log.in_order
    assert len(log.ids) == report.accepted_events
    return report, log


@pytest.mark.parametrize(
    ("name", "events", "items", "users"),
    [
        ("ml-1m.zip", 999_611, 3_883, 6_040),
        ("ml-latest-small.zip", 100_836, 9_742, 0),
        ("ml-100k.zip", 100_000, 1_682, 943),
    ],
)
def test_movielens_counts(shared_data: Path, name: str, events: int, items: int, users: int, records: Records) -> None:
    report, log = imported(shared_data / name, records)
    assert (report.format, log.actions) == ("movielens", {"play": events})
    assert (report.items, report.users, report.rejected) == (items, users, {})


def test_every_line_of_online_retail_is_accepted_or_rejected(shared_data: Path, records: Records) -> None:
    report, log = imported(shared_data / "online-retail.csv.gz", records)
    assert report.rows_read == 541_909
    assert log.actions["purchase"] + sum(report.rejected.values()) == 541_909
    assert report.rejected["cancellation"] == 9_288


def test_open_bandit_counts(shared_data: Path, records: Records) -> None:
    report, log = imported(shared_data / "open-bandit-small.zip", records)
    assert log.actions == {"impression": 40_000, "click": 207}
    assert (report.items, report.rejected) == (80, {})


def test_globo_clicks_are_accepted_to_the_last(shared_data: Path, tmp_path: Path, records: Records) -> None:
    # The first fifty thousand stand for all 2.4 million, which take too long here.
    with gzip.open(shared_data / GLOBO) as whole:
        (tmp_path / "globo.csv").write_bytes(b"".join(islice(whole, 50_001)))
    report, log = imported(tmp_path / "globo.csv", records)
    assert (log.actions, report.rejected) == ({"click": 50_000}, {})


def test_every_real_file_is_recognised(shared_data: Path) -> None:
    assert guess_format(shared_data / GLOBO) == "globo"
    assert guess_format(shared_data / "goodbooks-10k-books.csv.gz") == "table"


def test_real_books_come_in_as_items(shared_data: Path, records: Records) -> None:
    source = open_source(
        shared_data / "goodbooks-10k-books.csv.gz",
        now_ms=CLOCK.now_ms(),
        format="items",
        mapping={"item": "book_id", "text": "authors", "published": "original_publication_year"},
    )
    report = import_into(source, CountingLog(), records, clock=CLOCK)  # type: ignore[arg-type]
    assert report.items + sum(report.rejected.values()) == 10_000
    assert report.items > 9_950
