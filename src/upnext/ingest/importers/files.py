"""The text files of a data set, plain, gzipped, zipped or in a folder, line by line; knows no format's columns."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from upnext.errors import DataError
from upnext.ingest.importers.source import Rejected, rejected

MAX_LINE_BYTES = 1_048_576
_BUFFER_BYTES = 262_144


class DataFiles:
    """A data set's members by name, and counts of what was read. Nothing is unpacked to disk or held in memory.

    `rows_read` counts lines of data in all members.
    """

    def __init__(self, path: Path) -> None:
        """Raises `DataError` when there is no such file or folder, or it is a damaged zip."""
        self.path = path
        self.rows_read = 0
        self._bytes_read = 0
        if not path.exists():
            raise DataError(f"there is no file or folder {path}; check the path")
        try:
            self._archive = zipfile.ZipFile(path) if path.is_file() and zipfile.is_zipfile(path) else None
            self._sizes = self._measure()
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read {path}: {error}; check the file") from error

    @property
    def names(self) -> list[str]:
        """Paths of the members inside the zip or folder, sorted; of a single file, its name."""
        return sorted(self._sizes)

    def find(self, *endings: str) -> str | None:
        """The first member called one of `endings`, or ending in one that begins with a dot; None if none does."""
        for ending in endings:
            for name in self.names:
                if name.endswith(ending) if ending.startswith(".") else PurePosixPath(name).name == ending:
                    return name
        return None

    def fraction_read(self) -> float:
        """Bytes read of all members' bytes, unpacked; 0 to 1."""
        return min(1.0, self._bytes_read / max(1, sum(self._sizes.values())))

    def open(self, name: str) -> BinaryIO:
        """The bytes of a member, unpacked while they are read. Raises `DataError` when it cannot be opened."""
        try:
            if self._archive:
                return _Unpacking(self._archive.open(name)).buffered()
            file = self.path / name if self.path.is_dir() else self.path
            if _is_gzip(file):
                return _Unpacking(gzip.open(file)).buffered()
            return file.open("rb", buffering=_BUFFER_BYTES)
        except (OSError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read {name} of {self.path}: {error}; check the file") from error

    def where(self, name: str) -> str:
        """What to add to the number of a line: the member's name, unless there is only one."""
        return f" of {name}" if len(self._sizes) > 1 else ""

    def lines(self, name: str, encoding: str = "utf-8") -> Iterator[tuple[int, str | Rejected]]:
        """The lines of a member with their numbers, from 1 up, and without their ends.

        `Rejected` stands for one that is too long or not text in `encoding`. Blank lines are passed over. A member
        that breaks off, as a truncated gzip does, ends with a `Rejected`. Several members may be read in turns.
        """
        line = 0
        where = self.where(name)
        with self.open(name) as stream:
            while True:
                line += 1
                try:
                    raw = stream.readline(MAX_LINE_BYTES)
                    too_long = len(raw) == MAX_LINE_BYTES and _skip_line(stream)
                except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                    yield line, rejected(line, "file_broken", f"and all after it cannot be read: {error}", where)
                    return
                if not raw:
                    return
                self._bytes_read += len(raw)
                text = raw.rstrip(b"\r\n")
                if not text:
                    continue
                self.rows_read += 1
                if too_long:
                    yield line, rejected(line, "line_too_long", f"has more than {MAX_LINE_BYTES} bytes", where)
                    continue
                try:
                    yield line, text.decode(encoding)
                except UnicodeDecodeError as error:
                    yield line, rejected(line, "bad_encoding", f"is not {encoding} at byte {error.start}", where)

    def _measure(self) -> dict[str, int]:
        """Unpacked bytes of every member."""
        if self._archive:
            return {member.filename: member.file_size for member in self._archive.infolist() if not member.is_dir()}
        if self.path.is_dir():
            files = [file for file in self.path.rglob("*") if file.is_file()]
            return {file.relative_to(self.path).as_posix(): _unpacked_bytes(file) for file in files}
        return {self.path.name: _unpacked_bytes(self.path)}


class _Unpacking(io.RawIOBase):
    """A packed file as a raw stream: what could be unpacked before an error is handed out before the error."""

    def __init__(self, packed: gzip.GzipFile | IO[bytes]) -> None:
        self._packed = packed

    def buffered(self) -> BinaryIO:
        return io.BufferedReader(self, _BUFFER_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part: bytes = self._packed.read1(len(buffer))  # type: ignore[union-attr]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._packed.close()
        super().close()


class FileSource:
    """What importers of files share: their files, and how far they have been read."""

    def __init__(self, path: Path) -> None:
        """Raises `DataError` when there is no such file or folder, or it cannot be opened."""
        self._files = DataFiles(path)
        self.line = 0

    @property
    def rows_read(self) -> int:
        return self._files.rows_read

    def fraction_read(self) -> float:
        return self._files.fraction_read()


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _unpacked_bytes(file: Path) -> int:
    """Size after unpacking; of a gzip below 4 GiB its last four bytes say so (RFC 1952)."""
    size = file.stat().st_size
    if size < 18 or not _is_gzip(file):
        return size
    with file.open("rb") as stream:
        stream.seek(-4, io.SEEK_END)
        return max(size, int.from_bytes(stream.read(4), "little"))


def _skip_line(stream: BinaryIO) -> bool:
    """Reads on to the end of the line; whether there was anything left of it."""
    skipped = False
    while part := stream.readline(MAX_LINE_BYTES):
        skipped = True
        if part.endswith(b"\n"):
            break
    return skipped
