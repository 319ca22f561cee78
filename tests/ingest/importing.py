"""What tests of importers share: files made on the spot, and everything a source yields, sorted by kind."""

import gzip
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from upnext.domain.event import Event, Item, User
from upnext.ingest.importers.source import Record, Rejected, Source


@dataclass
class Yield:
    """The records of one source by kind, in their order."""

    events: list[Event]
    items: list[Item]
    users: list[User]
    rejected: list[Rejected]

    def reasons(self) -> list[tuple[int, str]]:
        return [(refusal.line, refusal.reason) for refusal in self.rejected]


def read_all(source: Source) -> Yield:
    return by_kind(source.records())


def by_kind(records: Iterable[Record]) -> Yield:
    everything = list(records)
    kinds = (Event, Item, User, Rejected)
    return Yield(*([record for record in everything if isinstance(record, kind)] for kind in kinds))  # type: ignore[arg-type]


def write_zip(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_gzip(path: Path, content: str | bytes) -> Path:
    path.write_bytes(gzip.compress(content.encode() if isinstance(content, str) else content))
    return path
