"""Rows of delimited text with a header, each of the right width or rejected; knows no format's meaning."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence

from upnext.errors import DataError
from upnext.ingest.importers.files import DataFiles
from upnext.ingest.importers.source import Rejected, rejected

_MAX_RECORD_LINES = 100


class Delimited:
    """One member of a data set as rows of text fields.

    `columns` are the names of its columns; `line` is the number of the line the row last yielded began on.
    """

    def __init__(
        self,
        files: DataFiles,
        name: str,
        *,
        delimiter: str = ",",
        columns: Sequence[str] | None = None,
        encoding: str = "utf-8",
        quoted: bool = True,
        multiline: bool = False,
    ) -> None:
        """Reads the header, unless `columns` name what a file without one holds.

        With `quoted`, a field may stand in double quotes, and with `multiline` such a field may hold line breaks.
        Raises `DataError` when there is no readable header.
        """
        self.line = 0
        self._files = files
        self._name = name
        self._delimiter = delimiter
        self._quoted = quoted
        self._multiline = multiline
        self._lines = files.lines(name, encoding)
        self._ahead: deque[tuple[int, str | Rejected]] = deque()
        self.columns = list(columns) if columns is not None else self._header()

    def position(self, *names: str) -> int:
        """Where the column is that has one of `names`; raises `DataError` when none has."""
        for name in names:
            if name in self.columns:
                return self.columns.index(name)
        have = ", ".join(self.columns)
        raise DataError(f"{self._name} has no column {names[0]}, only {have}; check the file and its format")

    def __iter__(self) -> Iterator[list[str] | Rejected]:
        """The rows still unread; `Rejected` for one with the wrong number of fields or a quote left open."""
        width = len(self.columns)
        for line, text in self._numbered():
            self.line = line
            if isinstance(text, Rejected):
                yield text
                continue
            fields = self._record(text) if self._quoted and '"' in text else text.split(self._delimiter)
            if isinstance(fields, Rejected) or len(fields) == width:
                yield fields
            else:
                yield self.rejected("wrong_columns", f"has {len(fields)} columns instead of {width}")

    def rejected(self, reason: str, what: str) -> Rejected:
        """A rejection of the row last yielded; `what` completes the sentence "line 17 …"."""
        return rejected(self.line, reason, what, self._files.where(self._name))

    def _numbered(self) -> Iterator[tuple[int, str | Rejected]]:
        while True:
            if self._ahead:
                yield self._ahead.popleft()
                continue
            numbered = next(self._lines, None)
            if numbered is None:
                return
            yield numbered

    def _header(self) -> list[str]:
        _, first = next(self._lines, (0, None))
        if not isinstance(first, str):
            raise DataError(f"{self._name} of {self._files.path} does not begin with a header line; check the file")
        self._files.rows_read -= 1
        first = first.removeprefix("\ufeff")
        fields = _parse(first, self._delimiter) if self._quoted else first.split(self._delimiter)
        return [name.strip() for name in fields or [first]]

    def _record(self, text: str) -> list[str] | Rejected:
        """The fields of a record with quotes that begins with `text`, maybe read on; lines read in vain go back."""
        fields = _parse(text, self._delimiter)
        if fields is not None:
            return fields
        taken: list[tuple[int, str | Rejected]] = []
        # A quote is open exactly while their number is odd.
        while self._multiline and text.count('"') % 2 and len(taken) < _MAX_RECORD_LINES:
            numbered = next(self._numbered(), None)
            if numbered is None:
                break
            taken.append(numbered)
            if isinstance(numbered[1], Rejected):
                break
            text += "\n" + numbered[1]
        fields = _parse(text, self._delimiter) if taken else None
        if fields is not None and len(fields) == len(self.columns):
            self._files.rows_read -= len(taken)
            return fields
        self._ahead.extendleft(reversed(taken))
        return self.rejected("bad_quoting", "has a quoted field that does not end properly")


def _parse(text: str, delimiter: str) -> list[str] | None:
    """The fields of one record; None when its quotes do not match."""
    lines = [line + "\n" for line in text.split("\n")]
    try:
        return next(csv.reader(lines, delimiter=delimiter, strict=True), None)
    except csv.Error:
        return None
