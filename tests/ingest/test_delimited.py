"""Lines and rows of data files: every line is a row or a rejection with its number."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest.importing import write_gzip, write_zip
from upnext.errors import DataError
from upnext.ingest.importers.delimited import Delimited
from upnext.ingest.importers.files import MAX_LINE_BYTES, DataFiles
from upnext.ingest.importers.source import Rejected


def rows_of(path: Path, **options: object) -> list[list[str] | tuple[int, str]]:
    """Rows, and line and reason of rejections."""
    files = DataFiles(path)
    table = Delimited(files, files.names[0], **options)  # type: ignore[arg-type]
    return [(row.line, row.reason) if isinstance(row, Rejected) else row for row in table]


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_broken_lines_are_rejected_with_their_numbers_and_the_rest_is_read(tmp_path: Path) -> None:
    content = b'a,b\n1,2\n3\n4,5,6\n\n\xff,7\n"8,9\n"10",11\n12,"1"3\n14,15'
    assert rows_of(write(tmp_path, content)) == [
        ["1", "2"], (3, "wrong_columns"), (4, "wrong_columns"), (6, "bad_encoding"), (7, "bad_quoting"),
        ["10", "11"], (9, "bad_quoting"), ["14", "15"],
    ]  # fmt: skip


def test_quoted_fields_may_hold_delimiters_and_quotes(tmp_path: Path) -> None:
    assert rows_of(write(tmp_path, 'a,b\n"x, y","say ""hi"""\r\n')) == [["x, y", 'say "hi"']]


def test_unquoted_formats_take_quotes_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, '1::"Crocodile" Dundee::x\n')
    assert rows_of(path, delimiter="::", columns=("a", "b", "c"), quoted=False) == [["1", '"Crocodile" Dundee', "x"]]


def test_a_quoted_field_may_hold_line_breaks_where_the_format_allows_it(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,"two\nlines"\n2,x\n')
    files = DataFiles(path)
    assert list(Delimited(files, "table.csv", multiline=True)) == [["1", "two\nlines"], ["2", "x"]]
    assert files.rows_read == 2
    assert rows_of(path) == [(2, "bad_quoting"), (3, "wrong_columns"), ["2", "x"]]


def test_a_quote_left_open_costs_only_its_own_line(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n1,"open\n2,x\n"3",y\n4,"z"\n')
    assert rows_of(path, multiline=True) == [(2, "bad_quoting"), ["2", "x"], ["3", "y"], ["4", "z"]]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    files = DataFiles(write(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n"))
    assert Delimited(files, "table.csv").columns == ["a", "b"]


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    files = DataFiles(write(tmp_path, "a,b\n"))
    with pytest.raises(DataError, match="no column c, only a, b"):
        Delimited(files, "table.csv").position("c")


def test_an_empty_file_has_no_header(tmp_path: Path) -> None:
    files = DataFiles(write(tmp_path, ""))
    with pytest.raises(DataError, match="header"):
        Delimited(files, "table.csv")


def test_an_endless_line_is_rejected_and_skipped(tmp_path: Path) -> None:
    content = b"a,b\n1," + b"x" * (2 * MAX_LINE_BYTES) + b"\n3,4\n"
    assert rows_of(write(tmp_path, content)) == [(2, "line_too_long"), ["3", "4"]]


def test_zips_and_gzips_are_read_as_they_are(tmp_path: Path) -> None:
    assert rows_of(write_zip(tmp_path / "a.zip", {"in/table.csv": "a,b\n1,2\n"})) == [["1", "2"]]
    assert rows_of(write_gzip(tmp_path / "b.csv.gz", "a,b\n3,4\n")) == [["3", "4"]]


def test_a_rejection_names_its_file_where_there_are_several(tmp_path: Path) -> None:
    files = DataFiles(write_zip(tmp_path / "a.zip", {"in/a.csv": "a,b\n1\n", "in/b.csv": ""}))
    (refusal,) = Delimited(files, "in/a.csv")
    assert refusal == Rejected(2, "wrong_columns", "line 2 of in/a.csv has 1 columns instead of 2")


def test_a_file_that_breaks_off_ends_with_a_rejection(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(10_000)))
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    rows = rows_of(path)
    assert len(rows) > 10
    line, reason = rows[-1]
    assert (line, reason) == (len(rows) + 1, "file_broken")


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        DataFiles(tmp_path / "nowhere")


def test_the_fraction_read_ends_at_one(tmp_path: Path) -> None:
    files = DataFiles(write_gzip(tmp_path / "b.csv.gz", "a,b\n" + "3,4\n" * 1000))
    assert files.fraction_read() == 0
    for _ in Delimited(files, files.names[0]):
        pass
    assert files.fraction_read() == 1
    assert files.rows_read == 1000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet='ab",\n\r\u2028é', max_size=12), max_size=8))
def test_no_line_is_lost_whatever_it_holds(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = write(tmp_path_factory.mktemp("any"), "a,b\n" + "\n".join(texts))
    lines = [line for line in "\n".join(texts).split("\n") if line.rstrip("\r")]
    assert len(rows_of(path)) == len(lines)
