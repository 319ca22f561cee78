"""Tables of implicit feedback, a user and their items on each line, as events; knows nothing of other formats.

The layout in which the sets of NGCF (Wang et al., SIGIR 2019) and LightGCN (He et al., SIGIR 2020) are published.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from upnext.domain.event import Event, Item
from upnext.errors import DataError
from upnext.ingest.importers.files import DataFiles, FileSource
from upnext.ingest.importers.source import Record, Rejected, rejected

FIRST_MS = 1_577_836_800_000
"""When the first event is said to have happened, 2020-01-01: the tables know no time, and every reading must agree."""
LOOK_AT_LINES = 50
FEWEST_SORTED = 3
"""Of fewer items, a rising order is no sign of sorting."""
_IDS = re.compile(r"[^\s,;|{}\[\]\"':]+(?: +[^\s,;|{}\[\]\"':]+)* *")
_INTEGER = re.compile(r"[0-9]+")
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


class UserItems(FileSource):
    """Lines of `user item item item …`, separated by spaces; of a folder or zip with a `train.txt`, that file alone.

    Each item is a `click`, one millisecond after the one before it, in the order of the lines. A line of integers that
    rise has been sorted, so its order says nothing: its clicks come in an order drawn from the ids. A line with a user
    and nothing else is rejected as `no_items`. An event's id is made of user and item, so an item that stands twice in
    a user's lines, in whatever file, is one event.
    """

    format = "user-items"

    def records(self) -> Iterator[Record]:
        name = training_member(self._files)
        if name is None:
            raise DataError(
                f"{self._files.path} holds several files and none is called train.txt; give the one to import"
            )
        items: set[str] = set()
        number = 0
        for line, text in self._files.lines(name):
            self.line = line
            if isinstance(text, Rejected):
                yield text
                continue
            user_id, *chosen = text.removeprefix("\ufeff").split()
            if not chosen:
                yield rejected(line, "no_items", f"names user {user_id} and no item", self._files.where(name))
            for item_id in _in_order(user_id, chosen):
                if item_id not in items:
                    items.add(item_id)
                    yield Item(item_id=item_id)
                yield Event(
                    event_id=f"user-items:{user_id}:{item_id}",
                    action="click",
                    timestamp_ms=FIRST_MS + number,
                    user_id=user_id,
                    item_id=item_id,
                )
                number += 1


def _in_order(user_id: str, chosen: list[str]) -> list[str]:
    """The items as they stand, unless they were sorted: learnt as a sequence, that says "the higher id is next"."""
    if len(chosen) < FEWEST_SORTED or not all(map(_INTEGER.fullmatch, chosen)):
        return chosen
    numbers = [int(item_id) for item_id in chosen]
    if any(first >= second for first, second in pairwise(numbers)):
        return chosen
    return sorted(chosen, key=lambda item_id: blake2b(f"{user_id} {item_id}".encode(), digest_size=8).digest())


def training_member(files: DataFiles) -> str | None:
    """The member to import: the only one, or the one called train.txt; None where neither is there."""
    names = files.names
    return names[0] if len(names) == 1 else files.find("train.txt", "train.txt.gz")


def is_user_items(files: DataFiles) -> bool:
    """Whether the first lines are ids with spaces between, either all integers or differing in number."""
    name = training_member(files)
    if name is None or name.removesuffix(".gz").endswith(_TABLES):
        return False
    lines = [text for _, (_, text) in zip(range(LOOK_AT_LINES), files.lines(name), strict=False)]
    if not lines or not all(isinstance(text, str) and _IDS.fullmatch(text.removeprefix("\ufeff")) for text in lines):
        return False
    widths = {len(str(text).split()) for text in lines}
    integers = all(_INTEGER.fullmatch(part) for text in lines for part in str(text).removeprefix("\ufeff").split())
    return max(widths) > 1 and (integers or len(widths) > 1)


def read_user_items(path: Path) -> dict[str, list[str]]:
    """The distinct items of each user in a file of this format, in their order; users without items are left out.

    Raises DataError when there is nothing to read at `path`, or a line of it cannot be read.
    """
    files = DataFiles(path)
    if len(files.names) != 1:
        raise DataError(f"{path} holds {len(files.names)} files where one is due; give the one with the items to find")
    chosen: dict[str, dict[str, None]] = {}
    for _, text in files.lines(files.names[0]):
        if isinstance(text, Rejected):
            raise DataError(f"{path}: {text.message}; mend the line")
        user_id, *items = text.removeprefix("\ufeff").split()
        if items:
            chosen.setdefault(user_id, {}).update(dict.fromkeys(items))
    return {user_id: list(items) for user_id, items in chosen.items()}
