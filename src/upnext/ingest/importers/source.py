"""What every importer promises, and what it yields; knows nothing of files, logs or stores."""

from collections.abc import Iterator
from typing import Protocol, TypeAlias

import msgspec

from upnext.domain.event import Event, Item, User


class Rejected(msgspec.Struct, frozen=True):
    """One line that gives no record: its number in its file (from 1 up), a short stable code, and what is wrong."""

    line: int
    reason: str
    message: str


def rejected(line: int, reason: str, what: str, where: str = "") -> Rejected:
    """A rejection of `line`; `what` completes the sentence "line 17 …", or with `where` "line 17 of tags.csv …"."""
    return Rejected(line, reason, f"line {line}{where} {what}")


Record: TypeAlias = Item | User | Event | Rejected


class Source(Protocol):
    """A data set as a stream of records.

    Streams in bounded memory and in time order where the data set has one. A line that cannot be used is `Rejected`,
    never an exception and never lost. Event ids are the same on every reading, so importing twice adds nothing.
    """

    format: str
    line: int
    """The line of the record last yielded."""

    @property
    def rows_read(self) -> int:
        """Lines of data read so far, of all files, without headers."""

    def fraction_read(self) -> float:
        """How much of the input has been read, 0 to 1."""

    def records(self) -> Iterator[Record]:
        """Every record once. Raises `DataError` when the input as a whole is not what its format says."""
