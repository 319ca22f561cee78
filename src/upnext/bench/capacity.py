"""How much a server can do at all: a closed loop that keeps it busy; says nothing of what users feel."""

from collections.abc import Sequence

from upnext.bench.run import Plan, Progress, run_load
from upnext.bench.summary import Summary, summarize
from upnext.bench.target import numbered_users, parse_target
from upnext.clock import Clock


def find_capacity(
    url: str,
    *,
    connections: int = 32,
    seconds: float = 10.0,
    warmup_s: float = 2.0,
    k: int = 20,
    users: Sequence[str] | int = 20_000,
    seed: int = 0,
    path: str = "/v1/recommend",
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Figures with `connections` requests always in flight; `achieved_per_s` is the most the server answers.

    `users` are ids, or how many numbered ones to make. Raises what `parse_target` and `run_load` raise.
    """
    user_ids = numbered_users(users) if isinstance(users, int) else users
    plan = Plan(
        parse_target(url, path),
        user_ids,
        rate_per_s=None,
        seconds=seconds,
        warmup_s=warmup_s,
        connections=connections,
        k=k,
        seed=seed,
    )
    return summarize(run_load(plan, clock=clock, progress=progress))
