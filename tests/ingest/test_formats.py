"""Formats are recognised by what is inside, not by names."""

from pathlib import Path

import pytest

from tests.ingest.importing import write_gzip, write_zip
from upnext.errors import DataError
from upnext.ingest.importers.formats import guess_format, open_source

NOW_MS = 1_760_000_000_000


@pytest.mark.parametrize(
    ("member", "content", "expected"),
    [
        ("ml-1m/interactions.csv", "user_id,movie_id,rating,position,from_end\n", "movielens"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n", "movielens"),
        ("ml-1m/ratings.dat", "1::2::3::4\n", "movielens"),
        ("ml-100k/u.data", "1\t2\t3\t4\n", "movielens"),
        ("ml/ml.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n", "movielens"),
        ("random/men/men.csv", ",timestamp,item_id,position,click,propensity_score\n", "open-bandit"),
        ("any.csv", "user_id,session_id,click_article_id,click_timestamp\n", "globo"),
        ("any.csv", "InvoiceNo,StockCode,Description\n", "online-retail"),
        ("interactions.csv", "user_id,item_id,action,timestamp\n", "table"),
        ("any.csv", "user,item,action,time\n", "table"),
    ],
)
def test_a_zip_is_what_its_members_say(tmp_path: Path, member: str, content: str, expected: str) -> None:
    assert guess_format(write_zip(tmp_path / "data.zip", {member: content})) == expected


def test_a_single_file_is_what_its_header_says(tmp_path: Path) -> None:
    header = "user_id,session_id,click_article_id,click_timestamp\n"
    assert guess_format(write_gzip(tmp_path / "data.csv.gz", header)) == "globo"
    (tmp_path / "events.jsonl").write_text('{"user_id": "u1"}\n')
    assert guess_format(tmp_path / "events.jsonl") == "table"


def test_a_synthetic_world_needs_no_file_but_a_file_of_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert guess_format(Path("synthetic:n_items=10")) == "synthetic"
    monkeypatch.chdir(tmp_path)
    Path("synthetic").write_text("user,item,action,time\n")
    assert guess_format(Path("synthetic")) == "table"


@pytest.mark.parametrize("name", ["synthetic:items=5", "synthetic:n_items=0", "synthetic:n_items=many"])
def test_a_size_that_is_none_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(DataError, match="synthetic:n_items=5000"):
        open_source(Path(name), now_ms=NOW_MS)


def test_an_unknown_format_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="movielens, globo"):
        open_source(tmp_path, now_ms=NOW_MS, format="netflix")


def test_a_mapping_for_a_format_with_fixed_columns_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", {"ratings.csv": "userId,movieId,rating,timestamp\n"})
    with pytest.raises(DataError, match="leave out --map"):
        open_source(path, now_ms=NOW_MS, mapping={"user": "userId"})


def test_nothing_at_the_path_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_source(tmp_path / "nowhere", now_ms=NOW_MS)


def test_a_table_of_items_can_come_alone(tmp_path: Path) -> None:
    (tmp_path / "books.csv").write_text("book_id,title\n1,Emma\n")
    source = open_source(tmp_path / "books.csv", now_ms=NOW_MS, format="items", mapping={"item": "book_id"})
    (item,) = source.records()
    assert (source.format, getattr(item, "title", "")) == ("items", "Emma")
