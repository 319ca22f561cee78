"""Do users with the longest histories wait longer than the rest?

One user in a hundred has 5,000 seen items and 50 recent ones, the others 30 of each. In one open loop, half of the
requests are of heavy users and half of as many others, drawn at random, so that caches serve both alike; shortlists are
off. Whose answer it is, its `state_version` tells. Exit status 1 when the heavy users' p99 is above 1.2 × the others'.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from pinned_servers import REPOSITORY
from random_release import ENCODERS, build_random_release
from serving import serving
from upnext.bench.machine import this_machine
from upnext.bench.run import Plan, Run, run_load
from upnext.bench.samples import Outcome
from upnext.bench.summary import Spread, spread
from upnext.bench.target import numbered_users, parse_target
from upnext.clock import Deadline, SystemClock
from upnext.domain.identity import keys_of, subject_of
from upnext.release.releases import Releases
from upnext.state.user_state import UserState, UserVectors, state_key, vectors_key
from upnext.store.lmdb_store import LmdbStore

HEAVY_SHARE = 0.01
HEAVY_SEEN, HEAVY_RECENT, REST = 5_000, 50, 30
HEAVY, LIGHT = 2, 1  # state versions, by which answers are told apart
MOST_RATIO, MOST_UNKNOWN = 1.2, 0.001
_VIEW = 1  # what the recent actions are; any will do
_BATCH = 500
_HOUR_MS = 3_600_000


class _Reply(msgspec.Struct):
    state_version: int
    tier: str
    timing_ms: dict[str, float]


class Group(msgspec.Struct, frozen=True):
    """Of the answers to one group: from when they were due, and as the server says in all and by stage."""

    client_ms: Spread
    server_ms: Spread
    stages_p99_ms: dict[str, float]
    full: float


def give_histories(home: Path, users: Sequence[str], n_items: int, seed: int) -> list[str]:
    """Puts states in place of those in `home`; the heavy users. Their vectors are what they were, and up to date."""
    rng, clock = np.random.default_rng(seed), SystemClock()
    heavy = set(rng.choice(len(users), max(int(len(users) * HEAVY_SHARE), 1), replace=False).tolist())
    keys, never = keys_of(f"item{item}" for item in range(n_items)), Deadline.never(clock)
    store = LmdbStore(home / "state", clock)

    def records() -> Iterator[tuple[bytes, bytes]]:
        for at, user in enumerate(users):
            subject = subject_of(user, None)
            assert subject is not None
            n_seen, n_recent = (HEAVY_SEEN, HEAVY_RECENT) if at in heavy else (REST, REST)
            seen = keys.take(rng.choice(n_items, n_seen, replace=False))
            state = UserState(
                state_version=HEAVY if at in heavy else LIGHT,
                n_interactions=n_seen,
                last_ms=clock.now_ms(),
                recent_keys=seen[-n_recent:],
                recent_ms=clock.now_ms() - np.arange(n_recent, 0, -1, dtype=np.int64) * _HOUR_MS,
                recent_actions=np.full(n_recent, _VIEW, np.uint8),
                seen=np.sort(seen),
            )
            vectors = UserVectors.unpack(store.get_many([vectors_key(ENCODERS, subject)], never)[0])
            assert vectors is not None
            vectors.state_version, vectors.n_interactions = state.state_version, n_seen
            yield state_key(subject), state.pack()
            yield vectors_key(ENCODERS, subject), vectors.pack()

    batch: list[tuple[bytes, bytes]] = []
    for record in records():
        batch.append(record)
        if len(batch) == _BATCH:
            store.put_many(batch, never)
            batch.clear()
    store.put_many(batch, never)
    store.close()
    return [users[at] for at in sorted(heavy)]


def groups_of(run: Run) -> tuple[dict[int, Group], int]:
    """By state version; and how many requests had no answer that tells whose it is."""
    samples, decoder = run.samples, msgspec.json.Decoder(_Reply)
    client: dict[int, list[float]] = {HEAVY: [], LIGHT: []}
    replies: dict[int, list[_Reply]] = {HEAVY: [], LIGHT: []}
    unknown = 0
    bodies = dict(samples.bodies)
    for index in range(len(samples)):
        if samples.intended_ms[index] < run.plan.warmup_s * 1e3 or index % samples.bodies.every:
            continue
        told = samples.outcome[index] == Outcome.REPLIED and samples.status[index] == 200
        reply = decoder.decode(bodies[index]) if told else None
        if reply is None or reply.state_version not in client:
            unknown += 1
            continue
        client[reply.state_version].append(samples.done_ms[index] - samples.intended_ms[index])
        replies[reply.state_version].append(reply)
    return {version: _group(client[version], replies[version]) for version in client}, unknown


def _group(client_ms: list[float], replies: list[_Reply]) -> Group:
    stages = {name for reply in replies for name in reply.timing_ms}
    return Group(
        spread(np.array(client_ms)),
        spread(np.array([reply.timing_ms["total"] for reply in replies])),
        {name: spread(np.array([reply.timing_ms.get(name, 0.0) for reply in replies])).p99 for name in sorted(stages)},
        sum(reply.tier == "full" for reply in replies) / max(len(replies), 1),
    )


def ratio(groups: dict[int, Group]) -> float:
    """The heavy users' p99 by that of the rest, from when requests were due."""
    return groups[HEAVY].client_ms.p99 / groups[LIGHT].client_ms.p99


def table_of(groups: dict[int, Group], unknown: int, rate_per_s: float) -> str:
    names = {HEAVY: f"{HEAVY_SEEN:,} seen, {HEAVY_RECENT} recent", LIGHT: f"{REST} seen and recent"}
    lines = [
        f"| at {rate_per_s:g}/s | answers | full | p50 ms | p90 ms | p99 ms | p99.9 ms | max ms "
        "| p50 ms in the server | p99 ms in the server | p99 ms by stage |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for version, group in groups.items():
        client, server = group.client_ms, group.server_ms
        stages = ", ".join(f"{name} {ms:.2f}" for name, ms in group.stages_p99_ms.items() if name != "total")
        lines.append(
            f"| {names[version]} | {client.count:,} | {group.full:.1%} | {client.p50:.2f} | {client.p90:.2f} "
            f"| {client.p99:.2f} | {client.p999:.2f} | {client.max:.2f} | {server.p50:.2f} | {server.p99:.2f} "
            f"| {stages} |"
        )
    heavy, rest = groups[HEAVY], groups[LIGHT]
    lines += [
        "",
        f"Heavy users' p99 is {ratio(groups):.2f} × that of the rest, their median "
        f"{heavy.client_ms.p50 / rest.client_ms.p50:.2f} ×; in the server "
        f"{heavy.server_ms.p99 / rest.server_ms.p99:.2f} × and {heavy.server_ms.p50 / rest.server_ms.p50:.2f} ×. "
        f"Answers that do not tell whose they are: {unknown}.",
        "",
    ]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="with a random release; its states are replaced  [one is made]")
    parser.add_argument("--items", type=int, default=100_000, help="of the release  [%(default)s]")
    parser.add_argument("--users", type=int, default=20_000, help="[%(default)s]")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second  [%(default)s]")
    parser.add_argument("--seconds", type=float, default=60.0, help="[%(default)s]")
    parser.add_argument("--workers", type=int, default=2, help="[%(default)s]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args()


def main() -> int:
    options = _arguments()
    users = numbered_users(options.users)
    with tempfile.TemporaryDirectory(prefix="upnext-heavy-") as folder:
        home, log = options.home or Path(folder) / "home", Path(folder) / "upnext.log"
        if options.home is None:
            build_random_release(home, n_items=options.items, n_users=options.users)
        n_items = len(Releases(home).open_active().array("catalog.sorted_keys"))
        heavy = give_histories(home, users, n_items, options.seed)
        others = sorted(set(users) - set(heavy))
        rest = np.random.default_rng(options.seed).choice(others, len(heavy), replace=False)
        asked = [str(user) for pair in zip(heavy, rest, strict=True) for user in pair]
        settings = ["ahead.reuse=false", "budget.full_ms=50", *options.set]
        with serving(home, log, workers=options.workers, settings=settings) as url:
            time.sleep(5.0)  # the other workers are ready, too
            plan = Plan(parse_target(url), asked, options.rate, options.seconds, warmup_s=5.0, seed=options.seed)
            groups, unknown = groups_of(run_load(plan))
    machine = this_machine(REPOSITORY)
    heading = f"{machine.cpu}, {machine.usable_cores} cores for {options.workers} workers and the load; "
    heading += f"{n_items:,} items, {len(heavy):,} heavy users; commit {machine.commit}."
    print(table := f"{heading}\n\n{table_of(groups, unknown, options.rate)}")
    if options.markdown:
        options.markdown.write_text("# Heavy users\n\n`python benchmarks/heavy_users.py`\n\n" + table)
    if options.json:
        found = {"heavy": groups[HEAVY], "rest": groups[LIGHT], "p99_ratio": ratio(groups), "unknown": unknown}
        document = {"machine": msgspec.to_builtins(machine), **found}
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    told = sum(group.client_ms.count for group in groups.values())
    return 0 if ratio(groups) <= MOST_RATIO and unknown <= MOST_UNKNOWN * told else 1


if __name__ == "__main__":
    sys.exit(main())
