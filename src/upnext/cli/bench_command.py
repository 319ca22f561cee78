"""`upnext bench`: sends load to a running server and reports what its users would have felt."""

import os
from pathlib import Path

import click
from rich.console import Console

from upnext.bench.plot import draw_run
from upnext.bench.progress import ProgressLine
from upnext.bench.report import as_table, report_of
from upnext.bench.run import Plan, Run, run_load
from upnext.bench.schedule import ARRIVALS, Arrivals
from upnext.bench.summary import Summary, summarize
from upnext.bench.target import numbered_users, parse_target
from upnext.cli.options import json_option
from upnext.cli.output import hand_over
from upnext.errors import SettingsError


@click.command("bench")
@click.argument("url")
@click.option("--rate", type=float, help="Requests a second, sent when due whether or not earlier ones were answered.")
@click.option("--closed", type=int, metavar="N", help="Instead of a rate: N connections that each ask again at once.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How long the part that counts lasts.")
@click.option(
    "--warmup", type=float, default=1.0, show_default=True, help="Seconds of the same load that do not count."
)
@click.option("--arrivals", type=click.Choice(ARRIVALS), default="poisson", show_default=True)
@click.option("--connections", type=int, default=64, show_default=True, help="Most requests in flight at a rate.")
@click.option("--k", type=int, default=20, show_default=True, help="Items asked for.")
@click.option("--users", type=int, help="Ask for user0 … user{N-1}.  [default: 20000]")
@click.option(
    "--users-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="User ids, one a line."
)
@click.option("--path", default="/v1/recommend", show_default=True, help="Endpoint to ask.")
@click.option("--timeout", type=float, default=5.0, show_default=True, help="Seconds to wait for an answer.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides arrivals and the order of users.")
@click.option("--cpu", type=int, help="Run the load on this core only.")
@click.option("--allow-remote", is_flag=True, help="Permit a target that is not this machine.")
@json_option
@click.option("--png", "png_path", type=click.Path(path_type=Path), help="Draw latency and tiers to this file.")
def bench_command(
    url: str,
    rate: float | None,
    closed: int | None,
    seconds: float,
    warmup: float,
    arrivals: Arrivals,
    connections: int,
    k: int,
    users: int | None,
    users_file: Path | None,
    path: str,
    timeout: float,
    seed: int,
    cpu: int | None,
    allow_remote: bool,
    json_path: Path | None,
    png_path: Path | None,
) -> None:
    """Send recommendation requests to the server at URL and report latency, tiers and failures.

    Latency counts from when a request should have started, so a server that stalls is charged for everyone it kept
    waiting. Exits with 1 when a request failed.

    \b
    Example:
      upnext bench http://127.0.0.1:8080 --rate 300 --seconds 30 --png bench.png
    """
    if (rate is None) == (closed is None):
        raise SettingsError("give either --rate R for an open loop or --closed N for a closed one")
    plan = Plan(
        target=parse_target(url, path, allow_remote=allow_remote),
        user_ids=_user_ids(users, users_file),
        rate_per_s=rate,
        seconds=seconds,
        warmup_s=warmup,
        connections=connections if closed is None else closed,
        k=k,
        arrivals=arrivals,
        seed=seed,
        timeout_ms=timeout * 1e3,
    )
    if cpu is not None:
        _run_on(cpu)
    line = ProgressLine(f"load on {plan.target}")
    try:
        run = run_load(plan, progress=line if seconds + warmup > 2.0 else None)
    finally:
        line.close()
    if _report(run, json_path, png_path).failed:
        raise SystemExit(1)


def _report(run: Run, json_path: Path | None, png_path: Path | None) -> Summary:
    report = report_of(run.plan, summarize(run))
    if hand_over(report, json_path):
        Console().print(as_table(report))
    if png_path:
        draw_run(run, png_path, f"{report.url}, {report.loop} loop, {report.result.achieved_per_s:,.0f} answers/s")
    return report.result


def _user_ids(count: int | None, file: Path | None) -> list[str]:
    if count is not None and file is not None:
        raise SettingsError("give either --users N or --users-file FILE, not both")
    if file is None:
        return numbered_users(20_000 if count is None else count)
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _run_on(cpu: int) -> None:
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, AttributeError) as error:
        raise SettingsError(
            f"cannot run on core {cpu} ({error}); this machine has 0 to {(os.cpu_count() or 1) - 1}"
        ) from error
