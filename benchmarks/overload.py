"""What do users feel when five times as much is asked as the server can do, and how soon is all well afterwards?

First its capacity: the highest rate of an open loop at which 99 % of the answers are full, in time, and none fails.
Then an open loop of five times that on a bounded number of connections; then, at once, one of half of it. Every request
does the whole work: shortlists, which would answer users who come again, are off.

Exit status 1 when a request failed, p99 or the longest answer passed its limit, useful answers (full and fast) fell
below 90 % of the capacity, or fewer than 99 % were full again 10 s after the load was over.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pinned_servers import REPOSITORY
from random_release import build_random_release
from serving import serving
from upnext.bench.capacity import find_capacity
from upnext.bench.machine import this_machine
from upnext.bench.plot import tiers_by_second
from upnext.bench.run import Plan, Run, run_load
from upnext.bench.summary import Summary, summarize
from upnext.bench.target import numbered_users, parse_target

ENOUGH = 0.99  # of answers are full
BUDGET_MS = 50.0
P99_MS, MOST_MS, USEFUL_SHARE, RECOVERY_S = 50.0, 200.0, 0.9, 10.0
SETTINGS = ("ahead.reuse=false", f"budget.full_ms={BUDGET_MS:g}")
_STEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # of what a closed loop gets answered in full


@dataclass
class Figures:
    """What was measured. Rates per second."""

    capacity_per_s: float = 0.0
    at_capacity: Summary | None = None
    over: Summary | None = None
    after: Summary | None = None
    full_by_second: list[float] = field(default_factory=list)  # after the overload
    pause_s: float = 0.0  # between the end of the overload and the first request after it
    recovered_s: float | None = None

    def useful_per_s(self, *tiers: str) -> float:
        assert self.over is not None
        return self.over.achieved_per_s * sum(self.over.answers.tiers.get(tier, 0.0) for tier in tiers)

    def broken(self) -> list[str]:
        """What was promised and does not hold."""
        assert self.over is not None
        assert self.after is not None
        found = []
        if failed := self.over.failed + self.after.failed:
            found.append(f"{failed} requests failed: {self.over.failures | self.after.failures}")
        if self.over.latency_ms.p99 >= P99_MS:
            found.append(f"p99 is {self.over.latency_ms.p99:.1f} ms, not below {P99_MS:g}")
        if self.over.latency_ms.max >= MOST_MS:
            found.append(f"the longest answer took {self.over.latency_ms.max:.1f} ms, not below {MOST_MS:g}")
        if (useful := self.useful_per_s("full", "fast")) < USEFUL_SHARE * self.capacity_per_s:
            found.append(f"{useful:.0f} useful answers/s are fewer than {USEFUL_SHARE:.0%} of the capacity")
        if self.recovered_s is None or self.recovered_s > RECOVERY_S:
            found.append(f"fewer than {ENOUGH:.0%} of the answers are full again after {RECOVERY_S:g} s")
        return found


def capacity_of(url: str, seconds: float, seed: int) -> tuple[float, Summary]:
    """The rate, and what was felt at it. SystemExit where the server is not even well at the lowest rate tried."""
    most = 0.0
    for connections in (2, 4, 8):
        closed = find_capacity(url, connections=connections, seconds=seconds, warmup_s=1.0, seed=seed)
        full_per_s = closed.achieved_per_s * closed.answers.tiers.get("full", 0.0)
        print(f"closed loop of {connections}: {full_per_s:,.0f} full answers/s", file=sys.stderr)
        most = max(most, full_per_s)
    for step in _STEPS:
        run = run_load(_plan(url, most * step, seconds, 1.0, seed, connections=64))
        found = summarize(run)
        full = found.answers.tiers.get("full", 0.0)
        print(f"{most * step:,.0f}/s: {full:.1%} full, p99 {found.latency_ms.p99:.1f} ms", file=sys.stderr)
        if full >= ENOUGH and not found.failed and found.latency_ms.p99 < BUDGET_MS:
            return most * step, found
    raise SystemExit("the server is not well at any rate that was tried; is the machine quiet?")


def _plan(url: str, rate_per_s: float, seconds: float, warmup_s: float, seed: int, *, connections: int) -> Plan:
    target, users = parse_target(url), numbered_users(20_000)
    return Plan(target, users, rate_per_s, seconds, warmup_s, connections=connections, seed=seed)


def measure(url: str, options: argparse.Namespace) -> Figures:
    figures = Figures()
    figures.capacity_per_s, figures.at_capacity = capacity_of(url, options.capacity_seconds, options.seed)
    offered_per_s = options.times * figures.capacity_per_s
    over_plan = _plan(url, offered_per_s, options.seconds, 0.0, options.seed + 1, connections=options.connections)
    after_plan = _plan(url, figures.capacity_per_s / 2, options.after, 0.0, options.seed + 2, connections=64)
    begin_s = time.perf_counter()
    over = run_load(over_plan)
    figures.pause_s = max(time.perf_counter() - begin_s - options.seconds, 0.0)
    after = run_load(after_plan)  # before any sum is done, which would give the server a rest
    figures.over, figures.after = summarize(over), summarize(after)
    figures.full_by_second = _full_by_second(after)
    figures.recovered_s = _recovered_s(figures.full_by_second, figures.pause_s)
    return figures


def _full_by_second(run: Run) -> list[float]:
    tiers = tiers_by_second(run)
    return tiers.get("full", [0.0] * int(run.plan.seconds))


def _recovered_s(full: list[float], pause_s: float) -> float | None:
    """Until a second from which on enough answers are full, that one included; None: not by the end."""
    for at in range(len(full)):
        if full[at] >= ENOUGH and sum(full[at:]) / len(full[at:]) >= ENOUGH:
            return pause_s + at
    return None


def table_of(figures: Figures) -> str:
    rows = {"at capacity": figures.at_capacity, "overload": figures.over, "after": figures.after}
    lines = [
        "| | offered/s | answered/s | failed | p50 ms | p90 ms | p99 ms | p99.9 ms | max ms | generator late p99 ms "
        "| waited for a connection | tiers |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, each in rows.items():
        assert each is not None
        ms, tiers = each.latency_ms, ", ".join(f"{tier} {share:.1%}" for tier, share in each.answers.tiers.items())
        lines.append(
            f"| {name} | {each.offered_per_s:,.0f} | {each.achieved_per_s:,.0f} | {each.failed} | {ms.p50:.1f} "
            f"| {ms.p90:.1f} | {ms.p99:.1f} | {ms.p999:.1f} | {ms.max:.1f} | {each.lateness_ms.p99:.1f} "
            f"| {each.queued_share:.1%} | {tiers} |"
        )
    capacity, full = figures.capacity_per_s, figures.useful_per_s("full")
    useful = figures.useful_per_s("full", "fast")
    recovered = "never" if figures.recovered_s is None else f"after {figures.recovered_s:.1f} s"
    lines += [
        "",
        f"Capacity {capacity:,.0f} full answers/s. Under the overload {useful:,.0f} useful answers/s (full and fast), "
        f"{useful / capacity:.0%} of it; {full:,.0f} full ones, {full / capacity:.0%}. Afterwards, at half the "
        f"capacity, 99 % are full again {recovered}; by second: "
        + ", ".join(f"{share:.1%}" for share in figures.full_by_second)
        + ".",
        "",
    ]
    lines += [f"BROKEN: {what}" for what in figures.broken()] or ["Nothing is broken."]
    return "\n".join(lines) + "\n"


def _json_of(figures: Figures, machine: Any, items: int) -> bytes:
    document = {
        "machine": msgspec.to_builtins(machine),
        "items": items,
        "capacity_per_s": figures.capacity_per_s,
        "useful_per_s": figures.useful_per_s("full", "fast"),
        "full_per_s": figures.useful_per_s("full"),
        "recovered_s": figures.recovered_s,
        "full_by_second": figures.full_by_second,
        "broken": figures.broken(),
        "at_capacity": figures.at_capacity,
        "overload": figures.over,
        "after": figures.after,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="with a random release; written to  [one is made]")
    parser.add_argument("--items", type=int, default=100_000, help="of the release that is made  [%(default)s]")
    parser.add_argument("--times", type=float, default=5.0, help="its capacity is offered  [%(default)s]")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the overload  [%(default)s]")
    parser.add_argument("--after", type=float, default=20.0, help="seconds at half the capacity  [%(default)s]")
    parser.add_argument("--capacity-seconds", type=float, default=8.0, help="for each rate tried  [%(default)s]")
    parser.add_argument("--connections", type=int, default=256, help="in the overload  [%(default)s]")
    parser.add_argument("--workers", type=int, default=2, help="[%(default)s]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args()


def main() -> int:
    options = _arguments()
    with tempfile.TemporaryDirectory(prefix="upnext-overload-") as folder:
        home, log = options.home or Path(folder) / "home", Path(folder) / "upnext.log"
        if options.home is None:
            build_random_release(home, n_items=options.items)
        with serving(home, log, workers=options.workers, settings=[*SETTINGS, *options.set]) as url:
            time.sleep(5.0)  # the other workers are ready, too
            figures = measure(url, options)
    machine = this_machine(REPOSITORY)
    asked = f"{options.times:g} × the capacity for {options.seconds:g} s on {options.connections} connections"
    heading = f"{machine.cpu}, {machine.usable_cores} cores for {options.workers} workers and the load; {asked}; "
    print(table := f"{heading}commit {machine.commit}.\n\n{table_of(figures)}")
    if options.markdown:
        options.markdown.write_text("# Overload\n\n`python benchmarks/overload.py`\n\n" + table)
    if options.json:
        options.json.write_bytes(_json_of(figures, machine, options.items))
    return 1 if figures.broken() else 0


if __name__ == "__main__":
    sys.exit(main())
