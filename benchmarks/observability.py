"""What does looking at every slate cost? The most that one server answers with it and without, in turns.

Two servers over one release, one worker each, on one core and paused in turns; the load has the other core. Counting,
timing and the diary of slow requests are on in one (the default) and off in the other (`observe.slates=false`).
Shortlists are off, so that each slate goes through the funnel; with `--shortlists` most are a look-up, which makes the
same cost a larger share. Two connections ask in turns, few enough for admission to let every request through. Exit
status 1 when the share of the throughput that is lost is above 3 %.
"""

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request

import msgspec

from pinned_servers import REPOSITORY, Server, free_port, process_on_core, wait_until_answered
from random_release import build_random_release
from upnext.bench.capacity import find_capacity
from upnext.bench.machine import this_machine

MOST_LOST = 0.03


class Result(msgspec.Struct, frozen=True):
    """Slates a second of every turn, and the median of the turns' shares lost."""

    on_per_s: list[float]
    off_per_s: list[float]
    lost: float
    full: float  # least share of full slates in a turn


def measure(on: Server, off: Server, turns: int, seconds: float) -> Result:
    """Both in each turn, in alternating order; the other is paused meanwhile."""
    found: dict[str, list[float]] = {on.name: [], off.name: []}
    full = 1.0
    for turn in range(turns):
        for server in (on, off) if turn % 2 else (off, on):
            other = off if server is on else on
            other.pause()
            server.resume()
            summary = find_capacity(server.url, seconds=seconds, warmup_s=1.0, connections=2)
            found[server.name].append(summary.achieved_per_s)
            full = min(full, summary.answers.tiers.get("full", 0.0))
            print(f"turn {turn + 1}: {server.name} {summary.achieved_per_s:,.0f}/s", file=sys.stderr, flush=True)
            other.resume()
    lost = [1 - with_it / without for with_it, without in zip(found[on.name], found[off.name], strict=True)]
    return Result(found[on.name], found[off.name], statistics.median(lost), full)


def _server(stack: ExitStack, folder: Path, home: Path, name: str, settings: list[str]) -> Server:
    port, log = free_port(), folder / f"{name}.log"
    command = [sys.executable, "-m", "upnext", "serve", "--home", str(home), "--port", str(port)]
    command += [part for setting in settings for part in ("--set", setting)]
    process = stack.enter_context(process_on_core(0, command, log))
    wait_until_answered(Request(f"http://127.0.0.1:{port}/readyz"), process, log)
    return Server(name, f"http://127.0.0.1:{port}", [process])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="[%(default)s]")
    parser.add_argument("--turns", type=int, default=7, help="[%(default)s]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn  [%(default)s]")
    parser.add_argument("--shortlists", action="store_true", help="answer from shortlists where there are any")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    common = ["impressions.share=0", "pressure.guard_p99_ms=100000", "budget.full_ms=200"]
    common += [] if options.shortlists else ["ahead.reuse=false"]
    with tempfile.TemporaryDirectory(prefix="upnext-observability-") as name, ExitStack() as stack:
        folder = Path(name)
        homes = [folder / "on", folder / "off"]
        for home in homes:
            build_random_release(home, n_items=options.items)
        on = _server(stack, folder, homes[0], "on", common)
        off = _server(stack, folder, homes[1], "off", [*common, "observe.slates=false"])
        result = measure(on, off, options.turns, options.seconds)
    machine = this_machine(REPOSITORY)
    text = (
        f"{machine.cpu}, one core for the server, commit {machine.commit}; {options.items:,} items, "
        f"{'shortlists' if options.shortlists else 'every slate live'}; {options.turns} turns of "
        f"{options.seconds:g} s.\n\n"
        f"| | slates a second, median | least | most |\n|---|---:|---:|---:|\n"
        f"| looked at | {statistics.median(result.on_per_s):,.0f} | {min(result.on_per_s):,.0f} "
        f"| {max(result.on_per_s):,.0f} |\n"
        f"| not looked at | {statistics.median(result.off_per_s):,.0f} | {min(result.off_per_s):,.0f} "
        f"| {max(result.off_per_s):,.0f} |\n\nLost, median of the turns: {result.lost:.1%} (asked: at most 3 %). "
        f"Full slates in the worst turn: {result.full:.1%}.\n"
    )
    print(text)
    if options.markdown:
        options.markdown.write_text(
            "# What looking at every slate costs\n\n`python benchmarks/observability.py`\n\n" + text
        )
    return 1 if result.lost > MOST_LOST else 0


if __name__ == "__main__":
    sys.exit(main())
