"""Does anybody notice a worker's death but those whose requests it was at?

    python -m tests.faults.worker_killed --kills 20

A server of two workers under a steady load of slates; once a second one of them gets SIGKILL, or, where its successor
takes longer to be ready, as soon as there are two again. Exit status 1 when a request failed that was not under way at
a worker which was killed just then.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.server_process import ServerProcess
from tests.faults.slate_load import Asked, SlateLoad, spread
from upnext.clock import SystemClock
from upnext.serve.accept import WorkerCounts

_LATE_S = 0.5  # after a kill, in which its victims' failures are heard of on a busy machine
_PATIENCE_S = 60.0
_BROKEN = {"ConnectionResetError", "ConnectionError", "BrokenPipeError"}


@dataclass
class Report:
    """What was done, and what was felt."""

    kills: list[tuple[float, int]] = field(default_factory=list)  # when, whom
    asked: list[Asked] = field(default_factory=list)
    workers: int = 0  # processes that answered
    ready_s: list[float] = field(default_factory=list)  # from a kill until there were two workers again

    @property
    def failed(self) -> list[Asked]:
        return [each for each in self.asked if each.status != 200]

    @property
    def unexplained(self) -> list[Asked]:
        """Failures that were not of a connection to a worker which was killed while the request was under way.

        Who would have answered first on a new connection is not known: that it broke at a kill is enough.
        """
        return [each for each in self.failed if not self._explained(each)]

    @property
    def sound(self) -> bool:
        return bool(self.asked) and not self.unexplained

    def markdown(self) -> str:
        new = sum(each.worker is None for each in self.failed)
        rows = [
            ("kills of one worker", f"{len(self.kills)}"),
            ("processes that answered", f"{self.workers}"),
            ("from a kill until two were ready again, s", f"{min(self.ready_s):.1f} to {max(self.ready_s):.1f}"),
            ("requests", f"{len(self.asked):,}"),
            ("failed, under way at the worker that was killed", f"{len(self.failed) - len(self.unexplained)}"),
            ("… of which on a connection that had no answer yet", f"{new}"),
            ("failed otherwise", f"{len(self.unexplained)}"),
        ]
        lines = ["| | |", "|---|---:|", *(f"| {name} | {count} |" for name, count in rows), ""]
        return "\n".join([*lines, "| p50 ms | p99 ms | max ms |", "|---:|---:|---:|", f"| {spread(self.asked)} |"])

    def _explained(self, failed: Asked) -> bool:
        return failed.error in _BROKEN and any(
            failed.worker in (pid, None) and failed.due_s <= killed_s + _LATE_S and failed.ended_s >= killed_s
            for killed_s, pid in self.kills
            if failed.ended_s <= killed_s + _LATE_S
        )


def run(home: Path, kills: int, *, rate_per_s: float, every_s: float = 1.0, seed: int = 0) -> Report:
    """Kills so often under load over `home`, which has an active release."""
    return asyncio.run(_run(home, kills, rate_per_s, every_s, seed))


async def _run(home: Path, kills: int, rate_per_s: float, every_s: float, seed: int) -> Report:
    report, server = Report(), ServerProcess(home, workers=2)
    try:
        await asyncio.to_thread(server.start)
        await two_ready(server)
        load = SlateLoad(server.port, rate_per_s, seed=seed)
        load.start()
        await asyncio.sleep(every_s)
        for number in range(kills):
            began_s = time.monotonic()
            victim = server.kill_worker(number)
            report.kills.append((began_s, victim))
            await two_ready(server, but=victim)
            report.ready_s.append(time.monotonic() - began_s)
            await asyncio.sleep(max(every_s - report.ready_s[-1], 0))
        await load.stop()
        report.asked = load.asked
        report.workers = len({each.worker for each in load.asked if each.status == 200})
        assert await asyncio.to_thread(server.stop) == 0, server.log_end()
    finally:
        server.kill_all()
    return report


async def two_ready(server: ServerProcess, but: int = 0) -> None:
    """Waits until two workers that run take connections, `but` not being one of them."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while len(joined(server).keys() & set(server.workers()) - {but}) < 2:
        assert time.monotonic() < give_up_s, server.log_end()
        await asyncio.sleep(0.02)


def joined(server: ServerProcess) -> dict[int, int]:
    """Open connections by process id of the workers of a server that take any; the killed may be among them (Linux)."""
    for worker in server.workers():
        with suppress(OSError, StopIteration):  # it has just ended
            environment = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
            path = next(each for each in environment if each.startswith(b"_UPNEXT_WORKER_COUNTS="))
            counts = WorkerCounts(Path(path.partition(b"=")[2].decode()), SystemClock())
            try:
                return counts.opened()
            finally:
                counts.close()
    return {}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rate-per-s", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="home with an active release  [default: a tiny one, made anew]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upnext-faults-") as folder:
        home = arguments.home or Path(folder) / "home"
        if arguments.home is None:
            from tests.conftest import train_tiny

            train_tiny(home)
        report = run(home, arguments.kills, rate_per_s=arguments.rate_per_s, seed=arguments.seed)
    print(report.markdown())
    for each in report.unexplained[:20]:
        print(f"unexplained: {each}", file=sys.stderr)
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
