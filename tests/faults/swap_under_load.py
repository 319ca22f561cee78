"""Does a release come into force under load without a request that fails, and what does it cost the others?

    python -m tests.faults.swap_under_load --swaps 5

A server of two workers under a steady load of slates; `upnext release activate` goes back and forth between two
releases of random weights. Exit status 1 when a request failed, or answers did not follow.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.server_process import ServerProcess
from tests.faults.slate_load import Asked, SlateLoad, spread
from tests.faults.worker_killed import two_ready
from upnext.release.releases import Releases

_WARM_S, _CALM_S, _FOLLOW_S = 3.0, 3.0, 60.0
_SETTLED = 50  # answers in a row from the new release, from both workers


@dataclass
class Report:
    """What was done, and what was felt."""

    swaps: list[tuple[float, float]] = field(default_factory=list)  # from the order until all answers followed
    asked: list[Asked] = field(default_factory=list)

    @property
    def failed(self) -> list[Asked]:
        return [each for each in self.asked if each.status != 200]

    @property
    def sound(self) -> bool:
        return bool(self.swaps) and not self.failed

    def markdown(self) -> str:
        during = [each for each in self.asked if any(begin <= each.due_s <= end for begin, end in self.swaps)]
        before = [each for each in self.asked if self.swaps and each.due_s < self.swaps[0][0]]
        between = [each for each in self.asked if each not in during and each not in before]
        lines = ["| | requests | failed | p50 ms | p99 ms | max ms |", "|---|---:|---:|---:|---:|---:|"]
        for name, asked in (("before the first swap", before), ("during swaps", during), ("between them", between)):
            failed = sum(each.status != 200 for each in asked)
            lines.append(f"| {name} | {len(asked):,} | {failed} | {spread(asked)} |")
        took = ", ".join(f"{end - begin:.1f}" for begin, end in self.swaps)
        return "\n".join([*lines, "", f"From the order until every answer followed, in s: {took}."])


def run(home: Path, swaps: int, *, rate_per_s: float, seed: int = 0) -> Report:
    """Swaps so often under load over `home`, which has two releases, one of them active."""
    return asyncio.run(_run(home, swaps, rate_per_s, seed))


async def _run(home: Path, swaps: int, rate_per_s: float, seed: int) -> Report:
    report, server = Report(), ServerProcess(home, workers=2)
    releases = Releases(home)
    try:
        await asyncio.to_thread(server.start)
        await two_ready(server)  # else the first of them gets all connections, and keeps them
        load = SlateLoad(server.port, rate_per_s, seed=seed)
        load.start(connections=16)
        await asyncio.sleep(_WARM_S)
        load.asked.clear()  # workers that have just started
        await asyncio.sleep(_CALM_S)
        for _ in range(swaps):
            other = next(each for each in releases.ids() if each != releases.active_id())
            begin_s = time.monotonic()
            await asyncio.to_thread(_activate, home, other)
            await _followed(load, other)
            report.swaps.append((begin_s, time.monotonic()))
            await asyncio.sleep(_CALM_S)
        await load.stop()
        report.asked = load.asked
        assert await asyncio.to_thread(server.stop) == 0, server.log_end()
    finally:
        server.kill_all()
    return report


def _activate(home: Path, release_id: str) -> None:
    command = [sys.executable, "-m", "upnext", "release", "activate", release_id, "--home", str(home)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


async def _followed(load: SlateLoad, release_id: str) -> None:
    """Waits until the newest answers are all of that release and of more than one worker."""
    give_up_s = time.monotonic() + _FOLLOW_S
    while True:
        newest = [each for each in load.asked[-2 * _SETTLED :] if each.status == 200][-_SETTLED:]
        if {each.release for each in newest} == {release_id} and len({each.worker for each in newest}) > 1:
            return
        assert time.monotonic() < give_up_s, f"answers do not follow to {release_id}"
        await asyncio.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--swaps", type=int, default=5)
    parser.add_argument("--rate-per-s", type=float, default=150.0)
    parser.add_argument("--items", type=int, default=20_000, help="in each of the two releases")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upnext-faults-") as folder:
        from benchmarks.random_release import build_random_release

        home = Path(folder) / "home"
        for seed in (0, 1):
            build_random_release(home, n_items=arguments.items, seed=seed)
        report = run(home, arguments.swaps, rate_per_s=arguments.rate_per_s, seed=arguments.seed)
    print(report.markdown())
    for each in report.failed[:20]:
        print(f"failed: {each}", file=sys.stderr)
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
