"""Is every acknowledged event in the log exactly once, and in its user's state exactly once, whatever is killed when?

    python -m tests.faults.kill_server --rounds 50

A real server of several workers takes events of many producers, who send each until it is acknowledged. At random
moments one worker, or the parent with all workers, gets SIGKILL. Exit status 1 when anything was lost, torn, doubled,
or counted in a state otherwise than once.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.home_check import Findings, HomeCheck
from tests.faults.producer import Account, Producers
from tests.faults.server_process import ServerProcess

_SINGLES, _BATCHES = 8, 4  # connections that send single events, and batches of up to 100
_LOAD_S = (0.05, 1.0)  # how long there is load before a kill
_CATCH_UP_S = 20.0


@dataclass
class Report:
    """What was done, and what was found."""

    seed: int
    worker_kills: int = 0
    server_kills: int = 0
    in_log: int = 0
    seconds: float = 0.0
    account: Account = field(default_factory=Account)
    findings: Findings = field(default_factory=Findings)

    @property
    def sound(self) -> bool:
        everything = len(self.account.acknowledged) == len(self.account.sent) == self.in_log
        return self.findings.sound and everything and not self.findings.behind and not self.account.unexpected

    def rows(self) -> list[tuple[str, int]]:
        account, findings = self.account, self.findings
        return [
            ("rounds", self.worker_kills + self.server_kills),
            ("kills of one worker", self.worker_kills),
            ("kills of the parent and all workers", self.server_kills),
            ("events sent", len(account.sent)),
            ("events acknowledged", len(account.acknowledged)),
            ("events without an answer, sent again", account.unanswered),
            ("… of which the log had them already", account.duplicates),
            ("events of requests refused by 503", account.refused),
            ("events acknowledged ahead of their state", account.unapplied),
            ("events in the log", self.in_log),
            ("acknowledged and lost", len(findings.lost)),
            ("torn", len(findings.torn)),
            ("twice in the log", len(findings.twice)),
            ("in the log, never sent", len(findings.never_sent)),
            ("states that do not fit the log", len(findings.wrong_states)),
            ("states behind the log at the end", findings.behind),
            ("other answers", account.unexpected.total()),
        ]

    def markdown(self) -> str:
        lines = [f"Seed {self.seed}, {self.seconds:.0f} s.", "", "| | |", "|---|---:|"]
        lines += [f"| {name} | {count:,} |" for name, count in self.rows()]
        return "\n".join(lines)


def run(home: Path, rounds: int, *, workers: int = 2, seed: int = 0) -> Report:
    """Kills `rounds` times under load over `home`, which has an active release; every second time at least a worker."""
    return asyncio.run(_run(home, rounds, workers, seed))


async def _run(home: Path, rounds: int, workers: int, seed: int) -> Report:
    choose, report = random.Random(seed), Report(seed)
    began_s = time.monotonic()
    server = ServerProcess(home, workers=workers)
    check = HomeCheck(home, report.account)
    producers = Producers(server.port, report.account, singles=_SINGLES, batches=_BATCHES, seed=seed)
    try:
        await asyncio.to_thread(server.start)
        producers.start()
        for number in range(rounds):
            await _fresh_acknowledgements(report.account)
            await asyncio.sleep(choose.uniform(*_LOAD_S))
            if number % 2 and choose.random() < 0.8:
                server.kill_all()
                report.server_kills += 1
                await asyncio.to_thread(server.start)
            else:
                server.kill_worker(choose.randrange(workers))
                report.worker_kills += 1
            report.findings = await asyncio.to_thread(check.look)
            _show(report, number + 1, rounds)
        await producers.finish()
        await _states_caught_up(check)
        assert await asyncio.to_thread(server.stop) == 0, server.log_end()
        report.findings = check.look()
        report.in_log = len(check)
    finally:
        server.kill_all()
        check.close()
    report.seconds = time.monotonic() - began_s
    return report


async def _fresh_acknowledgements(account: Account, at_least: int = 200) -> None:
    """Waits until the server is taking events again."""
    target = len(account.acknowledged) + at_least
    give_up = time.monotonic() + _CATCH_UP_S
    while len(account.acknowledged) < target:
        assert time.monotonic() < give_up, f"events are not acknowledged any more: {account.unexpected}"
        await asyncio.sleep(0.01)


async def _states_caught_up(check: HomeCheck) -> None:
    give_up = time.monotonic() + _CATCH_UP_S
    while check.behind() and time.monotonic() < give_up:
        await asyncio.sleep(0.05)


def _show(report: Report, number: int, rounds: int) -> None:
    if sys.stderr.isatty() or number % 10 == 0:
        said = "sound" if report.findings.sound else "NOT SOUND"
        print(f"round {number} of {rounds}: {len(report.account.acknowledged):,} acknowledged, {said}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="home with an active release  [default: a tiny one, made anew]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="upnext-faults-") as folder:
        home = arguments.home or Path(folder) / "home"
        if arguments.home is None:
            from tests.conftest import train_tiny

            train_tiny(home)
        report = run(home, arguments.rounds, workers=arguments.workers, seed=arguments.seed)
    print(report.markdown())
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
