"""Does the console stay usable while three times as much is asked of the server as it can do?

First the server's capacity, as in overload.py. Then an open loop of a multiple of it, while one client on a connection
of its own asks for what the console shows, one thing after the other, as an operator's browser does: figures, the page,
slow requests, one request explained. A stream of figures is open all the while. Times count from the asking to the last
byte.

Exit status 1 when one of them failed, or their p95 together is not below the limit.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from overload import SETTINGS, capacity_of
from pinned_servers import REPOSITORY
from random_release import build_random_release
from serving import serving
from upnext.bench.machine import this_machine
from upnext.bench.run import Plan, run_load
from upnext.bench.summary import Summary, summarize
from upnext.bench.target import numbered_users, parse_target

MOST_P95_MS = 300.0
ASKED = {
    "figures": ("GET", "/v1/ops/figures?window_s=10", None),
    "page": ("GET", "/console", None),
    "slow requests": ("GET", "/v1/ops/slow?n=60", None),
    "one request explained": ("POST", "/v1/ops/explain", {"user_id": "u00007"}),
}


@dataclass
class Watching:
    """What an operator had to wait for, by what was asked; and how often the stream told something."""

    took_ms: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in ASKED})
    failed: list[str] = field(default_factory=list)
    ticks: int = 0

    def p95_ms(self, *names: str) -> float:
        """Nearest rank, over all of `names`."""
        times = sorted(ms for name in names for ms in self.took_ms[name])
        return times[max(-(-95 * len(times) // 100) - 1, 0)] if times else float("inf")

    def broken(self) -> list[str]:
        """What was promised and does not hold."""
        found = [f"{len(self.failed)} requests of the console failed: {self.failed[0]}"] if self.failed else []
        if (p95_ms := self.p95_ms(*ASKED)) >= MOST_P95_MS:
            found.append(f"p95 of the console is {p95_ms:.0f} ms, not below {MOST_P95_MS:g}")
        if not self.ticks:
            found.append("the stream told nothing")
        return found


def watch(url: str, watching: Watching, over: threading.Event, pause_s: float) -> None:
    """Asks for one thing after the other until it is over."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    while not over.is_set():
        for name, (method, path, body) in ASKED.items():
            begin_s = time.perf_counter()
            try:
                connection.request(method, path, None if body is None else json.dumps(body))
                response = connection.getresponse()
                response.read()
            except OSError as error:
                watching.failed.append(f"{name}: {error}")
                connection.close()
                continue
            watching.took_ms[name].append((time.perf_counter() - begin_s) * 1e3)
            if response.status != 200:
                watching.failed.append(f"{name}: {response.status}")
            over.wait(pause_s)
    connection.close()


def listen(url: str, watching: Watching, over: threading.Event) -> None:
    """Reads the stream of figures until it is over."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", "/v1/ops/stream?window_s=10")
    response = connection.getresponse()
    while not over.is_set() and (line := response.readline()):
        watching.ticks += line.startswith(b"event: figures")
    connection.close()


def measure(url: str, options: argparse.Namespace) -> tuple[float, Summary, Watching]:
    """The capacity per second, how the load fared, and how the console did beside it."""
    capacity_per_s = options.capacity or capacity_of(url, options.capacity_seconds, options.seed)[0]
    watching, over = Watching(), threading.Event()
    threads = [
        threading.Thread(target=watch, args=(url, watching, over, options.pause), daemon=True),
        threading.Thread(target=listen, args=(url, watching, over), daemon=True),
    ]
    rate = options.times * capacity_per_s
    target, users = parse_target(url), numbered_users(20_000)
    plan = Plan(target, users, rate, options.seconds, 2.0, connections=options.connections, seed=options.seed + 1)
    for thread in threads:
        thread.start()
    load = run_load(plan)
    over.set()
    for thread in threads:
        thread.join(30.0)
    return capacity_per_s, summarize(load), watching


def table_of(capacity_per_s: float, load: Summary, watching: Watching) -> str:
    lines = ["| asked | times | p50 ms | p95 ms | max ms |", "|---|---:|---:|---:|---:|"]
    for name, times in watching.took_ms.items():
        middle = sorted(times)[len(times) // 2] if times else float("nan")
        most = max(times, default=float("nan"))
        lines.append(f"| {name} | {len(times)} | {middle:.1f} | {watching.p95_ms(name):.1f} | {most:.1f} |")
    lines += [
        "",
        f"All together: p95 {watching.p95_ms(*ASKED):.1f} ms; the stream told {watching.ticks} times. Meanwhile "
        f"{load.offered_per_s:,.0f} slates/s were offered, {load.offered_per_s / capacity_per_s:.1f} × the capacity of "
        f"{capacity_per_s:,.0f}; p99 of those answered {load.latency_ms.p99:.1f} ms, {load.failed} failed.",
        "",
    ]
    lines += [f"BROKEN: {what}" for what in watching.broken()] or ["Nothing is broken."]
    return "\n".join(lines) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="of the release that is made  [%(default)s]")
    parser.add_argument("--times", type=float, default=3.0, help="its capacity is offered  [%(default)s]")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the overload  [%(default)s]")
    parser.add_argument("--capacity-seconds", type=float, default=8.0, help="for each rate tried  [%(default)s]")
    parser.add_argument("--capacity", type=float, help="full answers a second, where it is known  [it is found out]")
    parser.add_argument("--connections", type=int, default=256, help="in the overload  [%(default)s]")
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between two looks  [%(default)s]")
    parser.add_argument("--workers", type=int, default=2, help="[%(default)s]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args()


def main() -> int:
    options = _arguments()
    with tempfile.TemporaryDirectory(prefix="upnext-console-") as folder:
        home = Path(folder) / "home"
        build_random_release(home, n_items=options.items)
        with serving(home, Path(folder) / "upnext.log", workers=options.workers, settings=SETTINGS) as url:
            time.sleep(5.0)  # the other workers are ready, too
            capacity_per_s, load, watching = measure(url, options)
    machine = this_machine(REPOSITORY)
    heading = f"{machine.cpu}, {machine.usable_cores} cores for {options.workers} workers and the load\n\n"
    page = heading + table_of(capacity_per_s, load, watching)
    print(page)
    if options.markdown:
        options.markdown.write_text(page)
    if options.json:
        figures = {"capacity_per_s": capacity_per_s, "load": load, "p95_ms": watching.p95_ms(*ASKED)}
        figures |= {"took_ms": watching.took_ms, "failed": watching.failed, "machine": machine}
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    return 1 if watching.broken() else 0


if __name__ == "__main__":
    sys.exit(main())
