"""How much more, and how much sooner, does upnext answer than a plain service made by hand, on one core?

Both serve 100,000 items × 64, 500 candidates, a 256-256-128-64-1 ranker and 20,000 users, random weights, one worker.
The servers share core 0, the plain one with its redis-server; the load runs on core 1; who is not measured is paused.
Each round measures both, one after the other, so that a change of the machine's mood touches both; figures are medians
over the rounds. An answer counts only when it is a full slate: of tier `full`, with all 20 items.

    python benchmarks/peer_service.py --json peer.json --markdown peer.md
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path

import msgspec

from pinned_servers import REPOSITORY, Server, plain_service, upnext_server
from upnext.bench.capacity import find_capacity
from upnext.bench.machine import Machine, this_machine
from upnext.bench.run import Plan, run_load
from upnext.bench.summary import Summary, summarize
from upnext.bench.target import numbered_users, parse_target
from upnext.errors import UpnextError

N_USERS = 20_000
K = 20


class Measured(msgspec.Struct, frozen=True):
    """One run against one server; `rate_per_s` None for its capacity."""

    server: str
    round: int
    rate_per_s: float | None
    summary: Summary

    @property
    def full_per_s(self) -> float:
        """Answers of tier full, a second."""
        return self.summary.achieved_per_s * self.summary.answers.tiers.get("full", 0.0)

    @property
    def full_share(self) -> float:
        """Share of the requests that got an answer of tier full, at whatever moment."""
        return self.summary.answers.tiers.get("full", 0.0) * self.summary.answered / max(self.summary.requests, 1)

    @property
    def comparable(self) -> bool:
        """Every answer was a full slate and no request failed."""
        answers = self.summary.answers
        complete = answers.slate_lengths == {str(K): answers.bodies_read}
        return not self.summary.failed and not answers.bodies_unreadable and answers.tiers == {"full": 1.0} and complete


class Comparison(msgspec.Struct, frozen=True):
    """Everything measured, and on what."""

    machine: Machine
    parameters: dict[str, float | int | list[float]]
    runs: list[Measured]


def measure(server: Server, round_number: int, rate_per_s: float | None, options: argparse.Namespace) -> Measured:
    """One run of the load against a server that is resumed for it."""
    users = numbered_users(N_USERS)
    server.resume()
    if rate_per_s is None:
        connections = options.connections
        summary = find_capacity(server.url, connections=connections, seconds=options.seconds, users=users, k=K)
    else:
        plan = Plan(
            parse_target(server.url), users, rate_per_s, seconds=options.seconds, warmup_s=2.0, k=K, seed=round_number
        )
        summary = summarize(run_load(plan))
    server.pause()
    return Measured(server.name, round_number, rate_per_s, summary)


def compare(options: argparse.Namespace, folder: Path) -> Comparison:
    """Start both servers, measure them in turn, stop them."""
    os.sched_setaffinity(0, {options.load_core})
    runs = []
    with ExitStack() as stack:
        servers = [stack.enter_context(plain_service(options.peer, options.server_core, options.items, folder))]
        servers[0].pause()
        if not options.peer_only:
            home = options.home or random_home(folder / "home", options.items)
            servers.append(stack.enter_context(upnext_server(home, options.server_core, folder)))
            servers[1].pause()
        for round_number in range(options.rounds):
            for rate_per_s in (None, *options.rates):
                for server in servers:
                    runs.append(measured := measure(server, round_number, rate_per_s, options))
                    print(line_of(measured), flush=True)
    parameters = {"rounds": options.rounds, "seconds": options.seconds, "connections": options.connections}
    parameters |= {"items": options.items, "rates_per_s": options.rates}
    return Comparison(this_machine(REPOSITORY), parameters, runs)


def random_home(home: Path, n_items: int) -> Path:
    from random_release import build_random_release

    build_random_release(home, n_items=n_items, dim=64, n_users=N_USERS, seed=0)
    return home


def line_of(run: Measured) -> str:
    summary = run.summary
    asked = "capacity" if run.rate_per_s is None else f"{run.rate_per_s:g}/s"
    shares = {**summary.answers.tiers, **summary.answers.routes}
    said = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    latency = summary.latency_ms
    return (
        f"round {run.round} {run.server:14}{asked:>9}: {run.full_per_s:7.1f} full/s, p50 {latency.p50:7.2f} ms, "
        f"p99 {latency.p99:7.2f} ms, failed {summary.failed}, {said}{'' if run.comparable else '  NOT ALL FULL'}"
    )


def markdown(comparison: Comparison) -> str:
    """The medians and their ratios as a table, with the machine above it."""
    machine, runs = comparison.machine, comparison.runs
    capacity = [run for run in runs if run.rate_per_s is None]
    plain, ours = _medians(capacity, attrgetter("full_per_s"))
    lines = [
        f"{machine.cpu}, one core for the server and one for the load; commit {machine.commit}, "
        f"medians of {comparison.parameters['rounds']} interleaved rounds of {comparison.parameters['seconds']:g} s.",
        "",
        "| | plain service | upnext | upnext is |",
        "|---|---|---|---|",
        f"| full answers/s, at most | {plain:,.0f} | {ours:,.0f} | {ours / plain:.2f} × |",
    ]
    for rate_per_s in sorted({run.rate_per_s for run in runs if run.rate_per_s is not None}):
        at_rate = [run for run in runs if run.rate_per_s == rate_per_s]
        for percent, field in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999")):
            plain, ours = _medians(at_rate, attrgetter(f"summary.latency_ms.{field}"))
            ratio = f"{plain / ours:.2f} × sooner"
            lines.append(f"| {percent} at {rate_per_s:g}/s, ms | {plain:,.2f} | {ours:,.2f} | {ratio} |")
        plain, ours = _medians(at_rate, attrgetter("full_share"))
        lines.append(f"| requests at {rate_per_s:g}/s with a full answer | {plain:.1%} | {ours:.1%} | |")
    return "\n".join(lines) + "\n"


def _medians(runs: list[Measured], value: Callable[[Measured], float]) -> tuple[float, float]:
    """Of the plain service and of upnext; NaN for one that was not measured."""
    plain, ours = ([value(run) for run in runs if run.server == server] for server in ("plain service", "upnext"))
    return statistics.median(plain or [float("nan")]), statistics.median(ours or [float("nan")])


def missing(options: argparse.Namespace) -> str | None:
    """Why there is nothing to compare with on this machine, if so."""
    if not options.peer.is_file():
        return f"no plain service at {options.peer}; give its file with --peer"
    if shutil.which("redis-server") is None:
        return (
            "no redis-server, which the plain service needs; install it, on Debian with: apt-get install redis-server"
        )
    absent = [module for module in ("fastapi", "hnswlib", "redis", "onnx") if find_spec(module) is None]
    if absent:
        return f"no {', '.join(absent)}, which the plain service needs; run: pip install 'upnext[peers,train]'"
    if len(os.sched_getaffinity(0)) < 2:
        return "only one core, and the load needs another than the servers"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, default=REPOSITORY.parent / "shared" / "peers" / "plain_service.py")
    parser.add_argument("--home", type=Path, help="home with an active release; built with random weights if not given")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rates", type=float, nargs="*", default=[300.0, 500.0])
    parser.add_argument("--connections", type=int, default=32, help="requests always in flight to find the capacity")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--peer-only", action="store_true", help="measure the plain service alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    if (reason := missing(options)) is not None:
        print(f"skipped: {reason}")
        return 0
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"the machine is busy already (load {load:.1f}): expect figures that mean little", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="upnext-peer-") as folder:
        try:
            comparison = compare(options, Path(folder))
        except UpnextError as error:
            print(f"stopped: {error}", file=sys.stderr)
            return 2
    print(table := markdown(comparison))
    if options.markdown:
        options.markdown.write_text(table)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n")
    ours = [run for run in comparison.runs if run.server == "upnext"]
    if doubtful := [run for run in ours if not run.comparable]:
        print(f"{len(doubtful)} of {len(ours)} runs of upnext had answers that were no full slates", file=sys.stderr)
    return 1 if doubtful else 0


if __name__ == "__main__":
    sys.exit(main())
