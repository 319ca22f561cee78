"""Does a news site's whole click stream, sent through HTTP with known faults in it, end up exactly once in the log?

Every click of the Globo file as a producer would send it, in batches. Among them, at known places: clicks sent twice,
clicks without consent, and broken copies of clicks: a time in seconds, an unknown action, an empty id, a wrong type, no
object at all, a body that is cut off. What the server says must add up to what was sent, reason by reason; the dead
letters must be the rejected ones; and the log, read back, must hold the clicks of the file and nothing else.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from pinned_servers import REPOSITORY
from producer import Asker, percentiles, post, write_json
from random_release import build_random_release
from serving import serving
from upnext.bench.machine import this_machine
from upnext.bench.target import parse_target
from upnext.clock import SystemClock
from upnext.domain.event import Event
from upnext.ingest.dead_letters import DeadLetters
from upnext.ingest.importers.globo import Globo
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.settings import DeadLetterSettings

FILE = "globo-clicks-2017-10-01_to_12.csv.gz"
CONNECTIONS = 6
_MASK = 2**64 - 1

# What is wrong with a broken copy, and the reason by which it must be refused.
FAULTS: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("timestamp_in_seconds", lambda click: click | {"timestamp_ms": click["timestamp_ms"] // 1_000}),
    ("timestamp_in_microseconds", lambda click: click | {"timestamp_ms": click["timestamp_ms"] * 1_000}),
    ("unknown_action", lambda click: click | {"action": "klick"}),
    ("empty_id", lambda click: click | {"item_id": ""}),
    ("missing_item", lambda click: {name: value for name, value in click.items() if name != "item_id"}),
    ("wrong_type", lambda click: click | {"item_id": 17}),
    ("wrong_type", lambda click: click["event_id"]),
)


@dataclass
class Counts:
    """Of events, by what became of them or should have."""

    accepted: int = 0
    duplicates: int = 0
    withheld: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.accepted + self.duplicates + self.withheld + self.rejected.total()


class Stream:
    """The bodies to send, and what must become of them."""

    def __init__(self, path: Path, batch: int, share: float, limit: int | None, seed: int) -> None:
        self._path = path
        self._batch = batch
        self._share = share
        self._limit = limit
        self._random = random.Random(seed)
        self._ids: set[int] = set()
        self.expected = Counts()
        self.checksum = 0  # of the clicks that must be in the log

    def bodies(self) -> Iterator[tuple[int, bytes]]:
        """Number of events, and body; up to `batch` clicks and what is mixed in among them."""
        part: list[Any] = []
        for number, event in enumerate(self._events()):
            if number == self._limit:
                break
            click = as_sent(event)
            part += [click, *self._more(click)]
            self._expect(event)
            if len(part) >= self._batch:
                yield len(part), msgspec.json.encode(part)
                part = []
                if self._random.random() < self._share:  # a body of one, cut off: nothing of it can be read
                    self.expected.rejected["malformed_json"] += 1
                    yield 1, msgspec.json.encode(click)[:-9]
        if part:
            yield len(part), msgspec.json.encode(part)

    def _events(self) -> Iterator[Event]:
        return (record for record in Globo(self._path).records() if isinstance(record, Event))

    def _expect(self, event: Event) -> None:
        key = hash(event.event_id)
        if key in self._ids:  # the file has a few clicks twice
            self.expected.duplicates += 1
            return
        self._ids.add(key)
        self.expected.accepted += 1
        self.checksum = (self.checksum + fingerprint(event)) & _MASK

    def _more(self, click: dict[str, Any]) -> list[Any]:
        """What is mixed in after a click: mostly nothing."""
        if self._random.random() >= self._share:
            return []
        kind = self._random.randrange(len(FAULTS) + 2)
        if kind == len(FAULTS):
            self.expected.duplicates += 1
            return [click]
        if kind > len(FAULTS):
            self.expected.withheld += 1
            return [click | {"event_id": "secret", "consent": False}]
        reason, broken = FAULTS[kind]
        self.expected.rejected[reason] += 1
        return [broken(click)]


def as_sent(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "action": event.action,
        "timestamp_ms": event.timestamp_ms,
        "user_id": event.user_id,
        "session_id": event.session_id,
        "item_id": event.item_id,
        "context": event.context,
        "producer": "globo-replay",
    }


def fingerprint(event: Event) -> int:
    """Of what the click says; sums of them do not depend on the order."""
    context = tuple(sorted(event.context.items()))
    said = (event.event_id, event.action, event.timestamp_ms, event.user_id, event.session_id, event.item_id, context)
    return hash(said) & _MASK


@dataclass
class Told:
    """What the server said."""

    counts: Counts = field(default_factory=Counts)
    sent: int = 0
    applied: int = 0
    busy: int = 0  # times that a request was answered 503 and sent again
    other: Counter[int] = field(default_factory=Counter)  # any other status
    latencies_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0


async def replay(url: str, stream: Stream) -> Told:
    """Sends everything, each connection one request after the other."""
    told, bodies, target = Told(), stream.bodies(), parse_target(url)
    askers = [await Asker.connect(target) for _ in range(CONNECTIONS)]
    begin_s = time.perf_counter()

    async def send(asker: Asker) -> None:
        for count, body in bodies:
            request = post(url, "/v1/events", body)
            told.sent += count
            sent_s = time.perf_counter()
            while (reply := await asker.ask(request)).status == 503:
                told.busy += 1
                await asyncio.sleep(1.0)
            told.latencies_ms.append((time.perf_counter() - sent_s) * 1e3)
            _tally(told, reply.status, reply.json())

    await asyncio.gather(*(send(asker) for asker in askers))
    told.seconds = time.perf_counter() - begin_s
    for asker in askers:
        asker.close()
    return told


def _tally(told: Told, status: int, answer: dict[str, Any]) -> None:
    if status == 422:  # nothing of the request could be taken
        told.counts.rejected[answer["error"]["code"]] += 1
    elif status != 200:
        told.other[status] += 1
    else:
        told.counts.accepted += answer["accepted"]
        told.counts.duplicates += answer["duplicates"]
        told.counts.withheld += answer["withheld"]
        told.counts.rejected.update(each["reason"] for each in answer["rejected"])
        told.applied += answer["accepted"] if answer["applied"] else 0


@dataclass
class Kept:
    """What lies in the home at the end."""

    events: int
    checksum: int
    dead_letters: Counter[str]


def kept_in(home: Path, after: int) -> Kept:
    """Reads back all events of the log after that number, and all dead letters."""
    event_log, events, checksum = LmdbEventLog(home / "log"), 0, 0
    for _, event in event_log.scan(after):
        events, checksum = events + 1, (checksum + fingerprint(event)) & _MASK
    event_log.close()
    dead_letters = DeadLetters(home / "deadletters", DeadLetterSettings(), SystemClock())
    reasons = Counter(dead_letters.totals().by_reason)
    dead_letters.close()
    return Kept(events, checksum, reasons)


def report(stream: Stream, told: Told, kept: Kept) -> tuple[str, bool]:
    """The table, and whether everything adds up."""
    expected, counts = stream.expected, told.counts
    rows: list[tuple[str, int, int]] = [
        ("events sent", expected.total, told.sent),
        ("accepted", expected.accepted, counts.accepted),
        ("duplicates", expected.duplicates, counts.duplicates),
        ("withheld for want of consent", expected.withheld, counts.withheld),
        ("rejected", expected.rejected.total(), counts.rejected.total()),
    ]
    rows += [(f"… {reason}", count, counts.rejected[reason]) for reason, count in sorted(expected.rejected.items())]
    rows += [
        ("accepted + duplicates + withheld + rejected", told.sent, counts.total),
        ("dead letters", counts.rejected.total(), kept.dead_letters.total()),
        ("events in the log", counts.accepted, kept.events),
    ]
    lines = ["| | expected | found |", "|---|---:|---:|"]
    lines += [f"| {name} | {wanted:,} | {found:,} |" for name, wanted, found in rows]
    same = kept.checksum == stream.checksum and kept.dead_letters == counts.rejected
    right = same and all(wanted == found for _, wanted, found in rows) and not told.other
    p50, p99 = percentiles(told.latencies_ms, 50, 99)
    are = "are" if kept.checksum == stream.checksum else "ARE NOT"
    lines += [
        "",
        f"The events read back from the log {are} the clicks of the file, field by field. "
        f"{told.sent / told.seconds:,.0f} events/s over {told.seconds:,.0f} s, acknowledged after p50 {p50:.1f} ms, "
        f"p99 {p99:.1f} ms a batch; {told.applied / max(counts.accepted, 1):.1%} with their state moved by then; "
        f"told to wait {told.busy} times; other answers: {told.other.total()}.",
        "",
    ]
    return "\n".join(lines), right


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data", help="folder of the file")
    parser.add_argument("--home", type=Path, help="home with an active release  [default: one of random weights]")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.02, help="of clicks after which something is mixed in")
    parser.add_argument("--limit", type=int, help="clicks to send  [default: all]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    path = options.data / FILE
    if not path.exists():
        print(f"skipped: there is no {path}; give its folder with --data")
        return 0
    with tempfile.TemporaryDirectory(prefix="upnext-globo-") as folder:
        home = options.home or Path(folder) / "home"
        if options.home is None:
            build_random_release(home, n_items=2_000, n_users=1_000)
        event_log = LmdbEventLog(home / "log")
        after = event_log.last()
        event_log.close()
        stream = Stream(path, options.batch, options.share, options.limit, options.seed)
        with (
            serving(home, Path(folder) / "upnext.log", workers=options.workers) as url,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            told = runner.run(replay(url, stream))
        kept = kept_in(home, after)
    machine = this_machine(REPOSITORY)
    table, right = report(stream, told, kept)
    heading = f"{machine.cpu}, {machine.usable_cores} cores for {options.workers} workers and the load; "
    print(table := f"{heading}commit {machine.commit}.\n\n{table}")
    if options.markdown:
        options.markdown.write_text(
            "# The Globo clicks through HTTP\n\n`python benchmarks/globo_replay.py`\n\n" + table
        )
    if options.json:
        figures = {"events_per_s": told.sent / told.seconds, "right": right}
        options.json.write_text(write_json({"machine": msgspec.to_builtins(machine), **figures}))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
