"""The synthetic world as a source, with its sizes read from a name; knows nothing of how worlds are made."""

from collections.abc import Iterator

from upnext.errors import DataError
from upnext.ingest.importers.source import Record
from upnext.ingest.synthetic import synthetic_world

SIZES = ("n_items", "n_users", "n_events", "seed")


class Synthetic:
    """Items, users and events of a made-up world, so that everything can be tried without any data.

    The world is named `synthetic`, or with sizes `synthetic:n_items=1000,seed=3`. The same sizes and the same
    `now_ms` give the same world.
    """

    format = "synthetic"

    def __init__(self, name: str, now_ms: int) -> None:
        """Raises `DataError` for a size that does not exist or is not a number from 1 up."""
        self._sizes = _parse_sizes(name)
        self._now_ms = now_ms
        self._total = 0
        self.line = 0

    @property
    def rows_read(self) -> int:
        return self.line

    def fraction_read(self) -> float:
        return self.line / max(1, self._total)

    def records(self) -> Iterator[Record]:
        world = synthetic_world(**self._sizes, now_ms=self._now_ms)
        self._total = len(world.items) + len(world.users) + len(world.events)
        for self.line, record in enumerate(world.records(), start=1):
            yield record


def _parse_sizes(name: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for assignment in filter(None, name.partition(":")[2].split(",")):
        size, _, number = assignment.partition("=")
        if size not in SIZES or not number.isdecimal() or int(number) < 1:
            example = "synthetic:n_items=5000,n_users=2000,n_events=200000,seed=7"
            raise DataError(f"{assignment!r} is no size of a synthetic world; write for example {example}")
        sizes[size] = int(number)
    return sizes
