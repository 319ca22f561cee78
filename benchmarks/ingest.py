"""How many events does one worker on one core make durable and apply over HTTP, and what does the disk alone allow?

Batches of 100 over a few connections, then single events over 64, each connection sending the next request when it was
answered; an answer comes after the flush of the disk and after the users' states have moved. Between them, with the
server stopped, what the same disk allows: a bare flush, and appends to the same kind of log without a server. In turns,
medians over the rounds. At the end the server is killed with SIGKILL, and every acknowledged event must be in its log.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import uvloop

from pinned_servers import REPOSITORY, Server, upnext_server
from producer import Asker, EventSource, batches, percentiles, post, write_json
from random_release import build_random_release
from upnext.bench.machine import this_machine
from upnext.bench.target import parse_target
from upnext.contracts.gate import admit_events
from upnext.ingest.lmdb_log import LmdbEventLog

N_ITEMS = 20_000
BATCH_BYTES = 22_000  # about what 100 events take in the log
FLOOR_S = 1.5


@dataclass
class Figures:
    """Per row of the table, one entry per round."""

    per_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    p50_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    p99_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_us: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # of processor time, each
    acknowledged: int = 0
    applied: int = 0
    failed: int = 0

    def add(self, name: str, count: int, seconds: float, cpu_s: float, latencies_ms: Sequence[float]) -> None:
        p50, p99 = percentiles(latencies_ms, 50, 99)
        self.per_s[name].append(count / seconds)
        self.p50_ms[name].append(p50)
        self.p99_ms[name].append(p99)
        self.cpu_us[name].append(cpu_s * 1e6 / max(count, 1))

    def rows(self) -> list[str]:
        lines = ["| | per s | lowest to highest | CPU µs each | p50 ms | p99 ms |", "|---|---:|---:|---:|---:|---:|"]
        for name, values in self.per_s.items():
            p50, p99, cpu_us = (statistics.median(table[name]) for table in (self.p50_ms, self.p99_ms, self.cpu_us))
            span = f"{min(values):,.0f} to {max(values):,.0f}"
            per_s = statistics.median(values)
            lines.append(f"| {name} | {per_s:,.0f} | {span} | {cpu_us:,.1f} | {p50:.2f} | {p99:.2f} |")
        return lines


def over_http(
    server: Server, figures: Figures, name: str, bodies: list[bytes], connections: int, seconds: float
) -> None:
    """Closed loop for so long, or until there are no bodies left."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_closed_loop(server, figures, name, bodies, connections, seconds))


async def _closed_loop(
    server: Server, figures: Figures, name: str, bodies: list[bytes], connections: int, seconds: float
) -> None:
    target = parse_target(server.url)
    askers = [await Asker.connect(target) for _ in range(connections)]
    requests = iter([post(server.url, "/v1/events", body) for body in bodies])
    latencies_ms: list[float] = []
    acknowledged = 0
    begin_s, begin_cpu_s = time.perf_counter(), cpu_seconds(server)

    async def send(asker: Asker) -> None:
        nonlocal acknowledged
        while (sent_s := time.perf_counter()) < begin_s + seconds and (request := next(requests, None)) is not None:
            reply = await asker.ask(request)
            latencies_ms.append((time.perf_counter() - sent_s) * 1e3)
            if reply.status != 200:
                figures.failed += 1
                continue
            answer = reply.json()
            acknowledged += answer["accepted"]
            figures.applied += answer["accepted"] if answer["applied"] else 0

    await asyncio.gather(*(send(asker) for asker in askers))
    cpu_s = cpu_seconds(server) - begin_cpu_s
    figures.add(name, acknowledged, time.perf_counter() - begin_s, cpu_s, latencies_ms)
    figures.acknowledged += acknowledged
    for asker in askers:
        asker.close()


def cpu_seconds(server: Server) -> float:
    """Processor time, user's and system's, that the server has taken (Linux)."""
    ticks = 0
    for process in server.processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def floor(figures: Figures, folder: Path, source: EventSource) -> None:
    """What the disk under `folder` allows without a server."""
    with (folder / "flushed").open("wb", buffering=0) as file:

        def flush() -> int:
            file.write(os.urandom(BATCH_BYTES))
            os.fdatasync(file.fileno())
            return 1

        _repeat(figures, "floor: write of 22 kB and flush (flushes)", flush)
    (folder / "flushed").unlink()
    event_log = LmdbEventLog(folder / "floor-log")
    for size in (64, 100, 5_000):
        made = (_events(source, size) for _ in iter(int, 1))
        waiting = [next(made) for _ in range(max(4_000 // size, 8))]

        def append(waiting: list[list[object]] = waiting) -> int:
            return len(event_log.append(waiting.pop())) if waiting else 0  # type: ignore[arg-type]

        _repeat(figures, f"floor: log without a server, appends of {size:,}", append)
    event_log.close()
    shutil.rmtree(folder / "floor-log")


def _events(source: EventSource, count: int) -> list[object]:
    (body,) = batches(source, 1, count)
    return list(admit_events(body, "application/json", now_ms=int(time.time() * 1e3)).records)


def _repeat(figures: Figures, name: str, work: Callable[[], int]) -> None:
    """For `FLOOR_S`, or until it returns 0."""
    latencies_ms: list[float] = []
    done, begin_s, begin_cpu_s = 0, time.perf_counter(), time.process_time()
    while (start_s := time.perf_counter()) < begin_s + FLOOR_S and (count := work()):
        latencies_ms.append((time.perf_counter() - start_s) * 1e3)
        done += count
    figures.add(name, done, time.perf_counter() - begin_s, time.process_time() - begin_cpu_s, latencies_ms)


def measure(home: Path, logs: Path, options: argparse.Namespace) -> Figures:
    """All rounds over a running server."""
    figures, source = Figures(), EventSource(N_ITEMS, seed=options.seed)
    with upnext_server(home, options.server_core, logs) as server:
        for _ in range(options.rounds):
            server.pause()
            os.sched_setaffinity(0, {options.server_core})
            floor(figures, home, source)
            many = batches(source, int(options.seconds * 500), 100)
            single = batches(source, int(options.seconds * 10_000), 1)
            os.sched_setaffinity(0, {options.load_core})
            server.resume()
            name = f"batches of 100, {options.batch_connections} connections (events)"
            over_http(server, figures, name, many, options.batch_connections, options.seconds)
            over_http(server, figures, "single events, 64 connections (events)", single, 64, options.seconds)
            print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, help="home with an active release  [default: one of random weights]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load in each round")
    parser.add_argument("--batch-connections", type=int, default=8)
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upnext-ingest-") as folder:
        home = options.home or Path(folder) / "home"
        if options.home is None:
            build_random_release(home, n_items=N_ITEMS, n_users=1_000)
        before = _count(home)
        figures = measure(home, Path(folder), options)
        in_log = _count(home) - before
    machine = this_machine(REPOSITORY)
    heading = (
        f"{machine.cpu}, one worker on one core, the load on another; commit {machine.commit}, medians of "
        f"{options.rounds} interleaved rounds of {options.seconds:g} s."
    )
    applied = figures.applied / max(figures.acknowledged, 1)
    kept = (
        f"{figures.acknowledged:,} events acknowledged, {applied:.1%} of them with their users' state moved; requests "
        f"failed: {figures.failed}; found in the log after SIGKILL: {in_log:,}."
    )
    print(table := "\n".join([heading, "", *figures.rows(), "", kept, ""]))
    if options.markdown:
        options.markdown.write_text("# Ingestion\n\n`python benchmarks/ingest.py`\n\n" + table)
    if options.json:
        options.json.write_text(write_json({"machine": msgspec.to_builtins(machine), **vars(figures)}))
    # A request whose answer was never read may be in the log beside the acknowledged ones, none may be missing.
    return 1 if figures.failed or in_log < figures.acknowledged else 0


def _count(home: Path) -> int:
    event_log = LmdbEventLog(home / "log")
    count = event_log.count()
    event_log.close()
    return count


if __name__ == "__main__":
    sys.exit(main())
