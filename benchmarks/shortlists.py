"""How many requests does one core answer from shortlists, and what does the cache in the process spare beside Redis?

One worker on core 0, the load on core 1, 100,000 items, random weights. First shortlists in LMDB and in the process:
the most a closed loop gets, and the latency of an open loop at half of 8,000/s. Then states and shortlists in a Redis
on the load's core: a server that keeps shortlists in its own memory too (L1 + L2) against one that does not (L2 alone),
in turns, at one rate and with one Zipf mix of users. Every user has a shortlist before it counts. The server that is
not asked goes on, idle: a paused one would have to ask Redis anew what it may believe.

    python benchmarks/shortlists.py --markdown shortlists.md
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pinned_servers import REPOSITORY, Server, free_port, process_on_core, upnext_server
from random_release import SETTINGS, build_random_release
from upnext.bench.capacity import find_capacity
from upnext.bench.machine import this_machine
from upnext.bench.run import Plan, run_load
from upnext.bench.summary import Summary, summarize
from upnext.bench.target import numbered_users, parse_target
from upnext.clock import Deadline, SystemClock
from upnext.errors import UpnextError
from upnext.settings import StoreSettings
from upnext.store.lmdb_store import LmdbStore
from upnext.store.opening import open_store

_WARM_S = 4.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="with a random release; not written to [one is made]")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=500.0, help="of the comparison [500]")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    if shutil.which("redis-server") is None:
        raise UpnextError("redis-server is not installed; install it with your system's package manager")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        if options.home:
            shutil.copytree(options.home, home)
        else:
            build_random_release(home)
        text = _told(_local(home, options), _compared(home, Path(folder), options), options)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    return 0


def _local(home: Path, options: argparse.Namespace) -> dict[str, tuple[float, Summary]]:
    """Of a server that keeps served slates for training, as by default, and one that does not."""
    found = {}
    users = numbered_users(options.users)
    for name, share in (("slates kept", 1.0), ("slates not kept", 0.0)):
        _settings(home, f"[ahead]\nlive_age_ms = 3600000\n\n[impressions]\nshare = {share}\n")
        with _server(home) as server:
            _each_once(server, users)
            most = [_most(server, users, options.seconds) for _ in range(options.rounds)]
            half = [_at(server, users, 4_000.0, options.seconds, seed) for seed in range(options.rounds)]
        found[name] = statistics.median(most), sorted(half, key=lambda each: each.latency_ms.p99)[len(half) // 2]
    return found


def _compared(home: Path, folder: Path, options: argparse.Namespace) -> dict[str, list[Summary]]:
    """By name of the server: its runs."""
    weights = 1.0 / np.arange(1, options.users + 1)
    drawn = np.random.default_rng(0).choice(options.users, 50_000, p=weights / weights.sum())
    everybody = numbered_users(options.users)
    mix = [everybody[user] for user in drawn.tolist()]
    found: dict[str, list[Summary]] = {}
    with _redis(folder) as url:
        homes = {}
        for name, l1_bytes in (("L1 + L2", 64 * 2**20), ("L2 alone", 0)):
            homes[name] = folder / name.replace(" ", "")
            shutil.copytree(home, homes[name], ignore=shutil.ignore_patterns("state", "log", "served", "consumers"))
            store = StoreSettings(url=url, prefix=name.replace(" ", ""))
            _copy_states(home, store)
            _settings(
                homes[name],
                f'[store]\nurl = "{store.url}"\nprefix = "{store.prefix}"\n\n'
                f"[ahead]\nl1_bytes = {l1_bytes}\nlive_age_ms = 3600000\n",
            )
        with _server(homes["L1 + L2"]) as both, _server(homes["L2 alone"]) as alone:
            servers = {"L1 + L2": both, "L2 alone": alone}
            for server in servers.values():
                _each_once(server, everybody)
            for seed in range(options.rounds):
                for name, server in servers.items():
                    found.setdefault(name, []).append(_at(server, mix, options.rate, options.seconds, seed))
    return found


def _told(
    local: dict[str, tuple[float, Summary]], compared: dict[str, list[Summary]], options: argparse.Namespace
) -> str:
    machine = this_machine(REPOSITORY)
    lines = [
        f"{machine.cpu}, one worker on one core, the load on another; commit {machine.commit}, "
        f"medians of {options.rounds} rounds of {options.seconds:g} s, {options.users:,} users.",
        "",
        "| shortlists in the process | at most, /s | p50 at 4,000/s, ms | p99 at 4,000/s, ms | from shortlists |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, (most, half) in local.items():
        share = half.answers.routes.get("shortlist", 0.0)
        latency = half.latency_ms
        lines.append(f"| {name} | {most:,.0f} | {latency.p50:.2f} | {latency.p99:.2f} | {share:.1%} |")
    lines += [
        "",
        f"| Redis, Zipf mix, {options.rate:g}/s | p50, ms | p99, ms | in the server p50, ms | from shortlists |",
        "|---|---:|---:|---:|---:|",
    ]
    medians = {}
    for name, runs in compared.items():
        p50, p99 = (statistics.median(getattr(run.latency_ms, q) for run in runs) for q in ("p50", "p99"))
        inside = statistics.median(run.answers.stages_ms["total"].p50 for run in runs)
        share = statistics.median(run.answers.routes.get("shortlist", 0.0) for run in runs)
        medians[name] = p50, inside
        lines.append(f"| {name} | {p50:.2f} | {p99:.2f} | {inside:.3f} | {share:.1%} |")
    (both, both_in), (alone, alone_in) = medians["L1 + L2"], medians["L2 alone"]
    lines += [
        "",
        f"With L1 the median is {1 - both / alone:.0%} lower as the client counts, "
        f"{1 - both_in / alone_in:.0%} lower in the server.",
        "",
    ]
    return "\n".join(lines)


def _most(server: Server, users: list[str], seconds: float) -> float:
    return find_capacity(server.url, connections=32, seconds=seconds, users=users, k=20).achieved_per_s


def _at(server: Server, users: list[str], rate: float, seconds: float, seed: int) -> Summary:
    plan = Plan(parse_target(server.url), users, rate, seconds=seconds, warmup_s=1.0, k=20, seed=seed)
    return summarize(run_load(plan))


def _each_once(server: Server, users: list[str]) -> None:
    """Everybody asks, slowly enough to be answered in full: three times, for those who were not."""
    for seed in range(3):
        _at(server, users, 300.0, max(len(users) / 200.0, _WARM_S), seed)


@contextmanager
def _server(home: Path) -> Iterator[Server]:
    with upnext_server(home, 0, home.parent) as server:
        yield server


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with process_on_core(1, command, folder / "redis.log"):
        for _ in range(200):
            if subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True).stdout.strip() == b"PONG":
                break
        yield f"redis://127.0.0.1:{port}/0"


def _settings(home: Path, more: str) -> None:
    (home / "upnext.toml").write_text(f"{SETTINGS}\n{more}")


def _copy_states(home: Path, settings: StoreSettings) -> None:
    clock = SystemClock()
    never = Deadline.never(clock)
    here, there = LmdbStore(home / "state", clock), open_store(home, settings, clock)
    records = [*here.scan(b"state/"), *here.scan(b"vectors/")]
    for at in range(0, len(records), 1_000):
        there.put_many(records[at : at + 1_000], never)
    here.close()
    there.close()


if __name__ == "__main__":
    sys.exit(main())
