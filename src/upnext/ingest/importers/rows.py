"""The rows of any table file as dictionaries: CSV, TSV, JSON lines or Parquet; knows nothing of their meaning."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec
import pyarrow
import pyarrow.parquet

from upnext.errors import DataError
from upnext.ingest.importers.delimited import Delimited
from upnext.ingest.importers.files import DataFiles
from upnext.ingest.importers.source import Rejected, rejected

Row: TypeAlias = dict[str, Any]
_JSON = msgspec.json.Decoder(Row)
_BATCH_ROWS = 10_000


class Rows(Protocol):
    """A table, read once from top to bottom. Absent values are None, empty text, or a missing key."""

    columns: list[str]

    @property
    def rows_read(self) -> int: ...

    def fraction_read(self) -> float:
        """How much of the file has been read, 0 to 1."""

    def __iter__(self) -> Iterator[tuple[int, Row | Rejected]]:
        """Each row with its line (of Parquet: its number), from 1 up."""


def open_rows(path: Path) -> Rows:
    """The table in `path`, plain, gzipped or alone in a zip; raises `DataError` when there is none."""
    if path.is_file():
        with path.open("rb") as stream:
            if stream.read(4) == b"PAR1":
                return _ParquetRows(path)
    files = DataFiles(path)
    if len(files.names) != 1:
        raise DataError(f"{path} holds {len(files.names)} files where one table is due; give the one to import")
    _, first = next(DataFiles(path).lines(files.names[0]), (0, ""))
    if not isinstance(first, str):
        raise DataError(f"{path} does not begin with text: {first.message}; give CSV, TSV, JSON lines or Parquet")
    if first.lstrip("\ufeff ").startswith("{"):
        return _JsonRows(files, first)
    return _TextRows(files, "\t" if "\t" in first else ";" if ";" in first and "," not in first else ",")


class _TextRows:
    def __init__(self, files: DataFiles, delimiter: str) -> None:
        self._files = files
        self._table = Delimited(files, files.names[0], delimiter=delimiter, multiline=True)
        self.columns = self._table.columns

    @property
    def rows_read(self) -> int:
        return self._files.rows_read

    def fraction_read(self) -> float:
        return self._files.fraction_read()

    def __iter__(self) -> Iterator[tuple[int, Row | Rejected]]:
        for row in self._table:
            yield self._table.line, dict(zip(self.columns, row, strict=True)) if isinstance(row, list) else row


class _JsonRows:
    """One JSON object per line; its columns are the keys of the first."""

    def __init__(self, files: DataFiles, first: str) -> None:
        self._files = files
        try:
            self.columns = list(_JSON.decode(first.removeprefix("\ufeff")))
        except (ValueError, RecursionError):
            self.columns = []

    @property
    def rows_read(self) -> int:
        return self._files.rows_read

    def fraction_read(self) -> float:
        return self._files.fraction_read()

    def __iter__(self) -> Iterator[tuple[int, Row | Rejected]]:
        for line, text in self._files.lines(self._files.names[0]):
            if isinstance(text, Rejected):
                yield line, text
                continue
            try:
                yield line, _JSON.decode(text.removeprefix("\ufeff"))
            except (ValueError, RecursionError) as error:
                yield line, rejected(line, "malformed_json", f"is not a JSON object: {error}")


class _ParquetRows:
    def __init__(self, path: Path) -> None:
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{path} is not readable as Parquet: {error}; check the file") from error
        self.columns = list(self._file.schema_arrow.names)
        self.rows_read = 0

    def fraction_read(self) -> float:
        return self.rows_read / max(1, int(self._file.metadata.num_rows))

    def __iter__(self) -> Iterator[tuple[int, Row | Rejected]]:
        try:
            for batch in self._file.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    self.rows_read += 1
                    yield self.rows_read, row
        except (pyarrow.ArrowException, OSError) as error:
            line = self.rows_read + 1
            yield line, rejected(line, "file_broken", f"and all after it cannot be read: {error}")
