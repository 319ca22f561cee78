"""Does a server that runs for an hour at half its capacity keep its memory, threads and descriptors?

Minute by minute the same load: slates, a third as many single events, now and then a posted item, and, with
`--swap-minutes`, another release. Between two minutes, when all connections for slates are closed, each worker's
memory is read as the kernel counts it: its proportional share (PSS), and of that what is its own (anonymous) and what
are pages of files, which are dropped when memory is short. Threads and descriptors are counted at the same moment.

Exit status 1 when the proportional share, or with `--judge own` what is not of files, grew by 2 % or more after the
first minutes, when there are more threads or descriptors than then, when a worker was replaced, or when a request
failed. Compared are the medians of memory, and the least counts, of as many minutes after the first ones and at the
end.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pinned_servers import REPOSITORY
from producer import Asker, post
from random_release import build_random_release
from second_release import add_second_release
from serving import serving
from soak_report import Minute, Worker, row_of, table_of, verdict_on
from upnext.bench.machine import this_machine
from upnext.bench.run import Plan, run_load
from upnext.bench.summary import summarize
from upnext.bench.target import numbered_users, parse_target
from upnext.release.releases import Releases

_KINDS = {"Pss": "pss", "Pss_Anon": "anonymous", "Pss_File": "files", "Pss_Shmem": "shared"}
_FRESH_ITEMS = 50  # posted again and again; all known within the first minutes
_REST_S = 1.0  # for connections to close
_LEAST_KEPT_PER_S = 1.0  # requests, for which a connection is kept: servers close idle ones


def workers_of() -> list[int]:
    """Process ids of the workers of the server that this process has started, or of a server that is its own worker."""
    (server,) = _children(os.getpid())
    return [child for child in _children(server) if _spawned(child)] or [server]


def _children(process: int) -> list[int]:
    folder = Path(f"/proc/{process}/task")
    return [int(child) for task in folder.iterdir() for child in (task / "children").read_text().split()]


def _spawned(process: int) -> bool:
    """Not Python's tracker of shared resources, which is a child too."""
    return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()


def look_at(process: int) -> Worker:
    """From /proc (Linux)."""
    folder, memory = Path(f"/proc/{process}"), {}
    for line in (folder / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        if name in _KINDS:
            memory[_KINDS[name]] = int(value.split()[0]) * 1_024
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    descriptors = sum(1 for _ in (folder / "fd").iterdir())
    return Worker(process=process, threads=int(status["Threads"]), descriptors=descriptors, **memory)


class Others:
    """Events and items, one a request, at a steady pace in a thread of its own, until told to stop."""

    def __init__(self, url: str, events_per_s: float, items_per_s: float, clicked_items: int, seed: int) -> None:
        self._url = url
        self._rates = {"/v1/events": events_per_s, "/v1/items": items_per_s}
        self._random = np.random.default_rng(seed)
        self._clicked_items = clicked_items
        self._answers: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=30)

    def taken(self) -> dict[str, int]:
        """Answers since the last time, by path and status."""
        answers, self._answers = self._answers, Counter()
        return dict(answers)

    async def _run(self) -> None:
        bodies: dict[str, Callable[[], Any]] = {"/v1/events": self._event, "/v1/items": self._item}
        await asyncio.gather(*(self._post(path, bodies[path], rate) for path, rate in self._rates.items() if rate))

    async def _post(self, path: str, body: Callable[[], Any], rate_per_s: float) -> None:
        target = parse_target(self._url)
        asker = await Asker.connect(target)
        due_s = time.perf_counter()
        while not self._stopping.is_set():
            await asyncio.sleep(max(due_s - time.perf_counter(), 0))
            due_s = max(due_s + 1 / rate_per_s, time.perf_counter() - 1)
            if rate_per_s < _LEAST_KEPT_PER_S:
                asker.close()
                asker = await Asker.connect(target)
            try:
                reply = await asyncio.wait_for(asker.ask(post(self._url, path, msgspec.json.encode(body()))), 10)
                self._answers[f"{path} {reply.status}"] += 1
            except OSError:  # a time-out is one
                self._answers[f"{path} no answer"] += 1
                asker.close()
                asker = await Asker.connect(target)
        asker.close()

    def _event(self) -> dict[str, object]:
        return {
            "event_id": os.urandom(16).hex(),
            "action": "click",
            "user_id": f"user{self._random.integers(20_000)}",
            "item_id": f"item{self._random.integers(self._clicked_items)}",
            "timestamp_ms": int(time.time() * 1e3),
        }

    def _item(self) -> dict[str, object]:
        number = self._random.integers(_FRESH_ITEMS)
        return {"item_id": f"fresh{number}", "title": f"Fresh {number}", "genres": [f"genre{number % 400}"]}


def soak(url: str, home: Path, options: argparse.Namespace, workers: Callable[[], list[int]]) -> list[Minute]:
    """One minute after the other. The last answers of one are waited for before the next begins."""
    others = Others(url, options.rate / 3, options.items_per_s, options.clicked_items, options.seed)
    others.start()
    minutes: list[Minute] = []
    for number in range(1, options.minutes + 1):
        if options.swap_minutes and number % options.swap_minutes == 0:
            releases = Releases(home)
            releases.activate(next(each for each in releases.ids() if each != releases.active_id()))
        plan = Plan(
            parse_target(url),
            numbered_users(20_000),
            options.rate,
            seconds=60.0 - _REST_S,
            warmup_s=0.0,
            connections=options.connections,
            seed=options.seed + number,
        )
        found = summarize(run_load(plan))
        time.sleep(_REST_S)
        minutes.append(Minute(number, found, others.taken(), [look_at(process) for process in workers()]))
        print(row_of(minutes[-1]), file=sys.stderr, flush=True)
    others.stop()
    return minutes


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="with a random release; written to  [one is made]")
    parser.add_argument("--items", type=int, default=100_000, help="of the release  [%(default)s]")
    parser.add_argument(
        "--clicked-items",
        type=int,
        default=2_000,
        help="that events are about: the first of an item costs a kilobyte, which is not a leak  [%(default)s]",
    )
    parser.add_argument("--minutes", type=int, default=60, help="[%(default)s]")
    parser.add_argument("--warm-minutes", type=int, default=10, help="not compared  [%(default)s]")
    parser.add_argument("--rate", type=float, default=150.0, help="slates a second  [%(default)s]")
    parser.add_argument("--items-per-s", type=float, default=0.1, help="items posted a second  [%(default)s]")
    parser.add_argument("--swap-minutes", type=int, default=0, help="another release so often; 0: never  [%(default)s]")
    parser.add_argument("--judge", choices=["pss", "own"], default="pss", help="the memory that counts  [%(default)s]")
    parser.add_argument("--connections", type=int, default=32, help="[%(default)s]")
    parser.add_argument("--workers", type=int, default=2, help="[%(default)s]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args()


def main() -> int:
    options = _arguments()
    with tempfile.TemporaryDirectory(prefix="upnext-soak-") as folder:
        home, log = options.home or Path(folder) / "home", Path(folder) / "upnext.log"
        if options.home is None:
            build_random_release(home, n_items=options.items)
        if options.swap_minutes and len(Releases(home).ids()) < 2:
            add_second_release(home)
        with serving(home, log, workers=options.workers, settings=["budget.full_ms=50", *options.set]) as url:
            time.sleep(5.0)  # the other workers are ready, too
            minutes = soak(url, home, options, workers_of)
    warm_minutes = min(options.warm_minutes, options.minutes // 3)
    machine, verdict = this_machine(REPOSITORY), verdict_on(minutes, warm_minutes, options.judge)
    heading = f"{machine.cpu}, {machine.usable_cores} cores for {options.workers} workers and the load; "
    heading += f"{options.items:,} items, {options.rate:g} slates/s, {options.rate / 3:g} events/s"
    heading += f", another release every {options.swap_minutes} minutes" if options.swap_minutes else ""
    print(table := f"{heading}; commit {machine.commit}.\n\n{table_of(minutes, verdict, warm_minutes)}")
    if options.markdown:
        options.markdown.write_text("# Soak\n\n`python benchmarks/soak.py`\n\n" + table)
    if options.json:
        document = {"machine": msgspec.to_builtins(machine), "verdict": verdict, "minutes": minutes}
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
