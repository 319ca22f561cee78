"""How much memory does one worker take at a million items, beyond the files it maps?

Starts a real worker over a release of random weights, sends it requests, and reads the kernel's account of its pages:
anonymous ones are its own; file-backed ones are the mapped release, shared by all workers and dropped under pressure.
"""

import argparse
import json
import tempfile
from pathlib import Path

from random_release import build_random_release
from upnext.bench.run import Plan, run_load
from upnext.bench.summary import summarize
from upnext.bench.target import numbered_users, parse_target
from upnext.cli.demo.client import running_server

_MIB = 1024  # KiB


def resident_mib(process_id: int) -> dict[str, float]:
    """Resident memory of a process by kind, from /proc/PID/status (Linux)."""
    fields = {}
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssFile", "RssShmem", "VmRSS"):
            fields[name] = int(value.split()[0]) / _MIB
    return fields


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="A home made by random_release.py.  [default: made anew]")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--port", type=int, default=8093)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        if not (home / "releases").exists():
            build_random_release(home, arguments.items)
        with running_server(home, arguments.port) as (client, process):
            ready = resident_mib(process.pid)
            plan = Plan(parse_target(client.url), numbered_users(20_000), 200.0, seconds=10.0)
            summary = summarize(run_load(plan))
            loaded = resident_mib(process.pid)
    figures = {
        "items": arguments.items,
        "ready": ready,
        "after_load": loaded,
        "own_mib": loaded["RssAnon"],
        "mapped_mib": loaded["RssFile"] + loaded["RssShmem"],
        "requests": summary.requests,
        "tiers": summary.answers.tiers,
    }
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
