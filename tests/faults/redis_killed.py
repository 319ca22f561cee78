"""What do users and producers feel when the Redis that holds all state is killed, restarted, frozen and thawed?

    python -m tests.faults.redis_killed

A real server of two workers over a real redis-server, an open loop of requests for slates and of single events. Slates
must go on without a 5xx, acknowledged events must be in the log, and states must follow once Redis is back. Done twice:
with a Redis that has its data when it comes back (append-only file), and with one that comes back empty.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.home_check import Findings, HomeCheck
from tests.faults.open_loop import Feeling, OpenLoop
from tests.faults.producer import Account
from tests.faults.server_process import ServerProcess
from tests.redis_servers import RedisServer
from upnext.errors import StoreError
from upnext.settings import StoreSettings

PERSISTENT = ("--appendonly", "yes")
_PATIENCE_S = 60.0  # for states to catch up


@dataclass(frozen=True)
class Phase:
    """What is done to Redis, and how long the load goes on after it."""

    name: str
    seconds: float
    act: Callable[[RedisServer], object] = lambda redis: None
    heals: bool = False  # states can follow again from here on


def phases(calm_s: float, fault_s: float) -> list[Phase]:
    return [
        Phase("before", calm_s),
        Phase("killed", fault_s, RedisServer.stop),
        Phase("restarted", calm_s, RedisServer.start, heals=True),
        Phase("frozen", fault_s, RedisServer.freeze),
        Phase("thawed", calm_s, RedisServer.thaw, heals=True),
    ]


def emptyings(calm_s: float, times: int = 8) -> list[Phase]:
    """Redis loses everything between two commands, as by FLUSHALL."""

    def empty(redis: RedisServer) -> object:
        return redis.command("flushall")

    return [Phase("before", calm_s), *(Phase(f"emptied, {n + 1}", calm_s, empty, heals=True) for n in range(times))]


@dataclass
class Report:
    """Per phase what was felt, and what was found at the end."""

    feelings: list[Feeling] = field(default_factory=list)
    caught_up_s: dict[str, float] = field(default_factory=dict)  # by phase; inf where it did not happen
    account: Account = field(default_factory=Account)
    findings: Findings = field(default_factory=Findings)

    @property
    def sound(self) -> bool:
        kept = (
            self.findings.sound and not self.findings.behind and self.account.sent.keys() == self.account.acknowledged
        )
        answered = not any(feeling.slates_failed for feeling in self.feelings)
        return kept and answered and not self.account.unexpected and max(self.caught_up_s.values()) < float("inf")

    def markdown(self) -> str:
        lines = [Feeling.HEADER, *(feeling.row(self.caught_up_s.get(feeling.phase)) for feeling in self.feelings), ""]
        findings, account = self.findings, self.account
        lines.append(
            f"Events acknowledged in the end: {len(account.acknowledged):,} of {len(account.sent):,}; lost "
            f"{len(findings.lost)}, torn {len(findings.torn)}, twice {len(findings.twice)}. States that do not fit the "
            f"log: {len(findings.wrong_states)}, behind it: {findings.behind}. Other answers: "
            f"{account.unexpected.total()}."
        )
        return "\n".join(lines)


def run(
    home: Path,
    redis: RedisServer,
    plan: list[Phase],
    *,
    slates_per_s: float,
    events_per_s: float,
    seed: int = 0,
    patience_s: float = _PATIENCE_S,
) -> Report:
    """The plan under load over `home`, which has an active release; stops `redis` at the end.

    States that have not caught up `patience_s` after a phase that heals count as never.
    """
    return asyncio.run(_run(home, redis, plan, slates_per_s, events_per_s, seed, patience_s))


async def _run(
    home: Path,
    redis: RedisServer,
    plan: list[Phase],
    slates_per_s: float,
    events_per_s: float,
    seed: int,
    patience_s: float,
) -> Report:
    report = Report()
    redis.start()
    server = ServerProcess(home, workers=2, settings=[f"store.url={redis.url}/0"])
    check = HomeCheck(home, report.account, StoreSettings(url=f"{redis.url}/0", timeout_ms=1_000))
    loop = OpenLoop(server.port, report.account, random.Random(seed), slates_per_s, events_per_s)
    try:
        await asyncio.to_thread(server.start)
        healing = []
        for phase in plan:
            await asyncio.to_thread(phase.act, redis)
            if phase.heals:
                healing.append(asyncio.create_task(_caught_up(phase.name, check, report, patience_s)))
            await loop.run(phase.name, phase.seconds)
        await loop.finish()
        await asyncio.gather(*healing, _caught_up("end", check, report, patience_s))
        report.feelings = [loop.feelings[phase.name] for phase in plan]
        report.findings = check.look()
        assert await asyncio.to_thread(server.stop) == 0, server.log_end()
    finally:
        server.kill_all()
        check.close()
        redis.stop()
    return report


async def _caught_up(phase: str, check: HomeCheck, report: Report, patience_s: float) -> None:
    """Notes how long it takes from now until states have all that is in the log now."""
    began_s, target = time.monotonic(), check.last()
    report.caught_up_s[phase] = float("inf")
    while time.monotonic() < began_s + patience_s:
        try:
            behind = await asyncio.to_thread(check.behind, target)
        except StoreError:
            behind = -1
        if not behind:
            report.caught_up_s[phase] = time.monotonic() - began_s
            return
        await asyncio.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calm-s", type=float, default=5.0)
    parser.add_argument("--fault-s", type=float, default=10.0)
    parser.add_argument("--slates-per-s", type=float, default=100.0)
    parser.add_argument("--events-per-s", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--emptied", action="store_true", help="also a Redis that is emptied under load by FLUSHALL")
    arguments = parser.parse_args()
    faults = phases(arguments.calm_s, arguments.fault_s)
    calm_s = arguments.calm_s
    trials = [
        ("Redis with an append-only file", PERSISTENT, faults, _PATIENCE_S),
        ("Redis that comes back empty", (), faults, _PATIENCE_S),
        (
            "Redis that is emptied under load",
            (),
            emptyings(calm_s),
            calm_s,
        ),  # else the next one heals what this one did
    ]
    sound = True
    with tempfile.TemporaryDirectory(prefix="upnext-faults-") as folder:
        from tests.conftest import TrainedHome, train_tiny

        trained = TrainedHome(Path(folder) / "trained", train_tiny(Path(folder) / "trained"))
        for number, (name, options, plan, patience_s) in enumerate(trials if arguments.emptied else trials[:2]):
            home = trained.copy(Path(folder) / f"home{number}")
            redis = RedisServer(Path(folder) / f"redis{number}", *options)
            rates = {"slates_per_s": arguments.slates_per_s, "events_per_s": arguments.events_per_s}
            report = run(home, redis, plan, seed=arguments.seed, patience_s=patience_s, **rates)
            print(f"{name}:\n\n{report.markdown()}\n", flush=True)
            sound &= report.sound
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
