"""`upnext demo`: the whole job once: import, train, compress, release, evaluate, serve, and look at it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
from rich.table import Table

from upnext.bench.run import Plan, run_load
from upnext.bench.summary import Spread, summarize
from upnext.bench.target import parse_target
from upnext.cli.screen import ScreenSteps, console
from upnext.settings import load_settings

_RATE_PER_S, _SECONDS = 100.0, 8.0


@click.command("demo")
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), default=Path(".demo"), show_default=True,
              help="Where everything goes.")  # fmt: skip
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="A data set.  [default: a synthetic world]")
@click.option("--port", type=int, default=8080, show_default=True, help="Port to serve on.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the world and of training.")
@click.option("--once", is_flag=True, help="End after printing instead of going on to serve.")
def demo_command(home: Path, data: Path | None, port: int, seed: int, once: bool) -> None:
    """Show the main job on a built-in synthetic world, or on a data set of yours.

    \b
    Examples:
      upnext demo
      upnext demo --data ml-latest-small.zip --once
    """
    from upnext.cli.demo.clicks import three_clicks
    from upnext.cli.demo.client import running_server
    from upnext.cli.demo.job import QUICK, SYNTHETIC, learn
    from upnext.cli.pipeline.plan import TrainSettings

    signal.signal(signal.SIGTERM, _leave)  # so that the server is stopped too
    source = data or SYNTHETIC
    folder = home / source.name.split(".")[0]
    settings = load_settings(folder, os.environ)
    learnt = learn(folder, source, settings, TrainSettings() if data else QUICK, seed)
    with running_server(folder, port) as (client, process):
        slates, spent_ms = three_clicks(client, learnt.user_ids[0], learnt.genres)
        latency = _latency(client.url, learnt.user_ids)
        console.width = max(console.width, 120)
        console.print(slates)
        console.print(f"the slate after the third click took {spent_ms:.1f} ms inside the server\n")
        console.print(learnt.evaluation)
        console.print(latency)
        console.print(f"serving at [bold]{client.url}[/bold]   (OpenAPI: {client.url}/openapi.json)")
        console.print(f"a storefront to try: [bold]{client.url}/demo[/bold]")
        if not once:
            console.print("Ctrl-C stops the server")
            _until_interrupted(process)


def _latency(url: str, user_ids: list[str]) -> Table:
    """A short open-loop load, by stage."""
    plan = Plan(parse_target(url), user_ids, _RATE_PER_S, seconds=_SECONDS)
    with ScreenSteps().step(f"load, {_RATE_PER_S:.0f} requests/s") as progress:
        summary = summarize(run_load(plan, progress=lambda share, asked: progress(int(100 * share), 100, f"{asked:,}")))
    shares = ", ".join(f"{tier} {share:.1%}" for tier, share in summary.answers.tiers.items())
    table = Table(title=f"latency at {_RATE_PER_S:.0f} requests/s for {_SECONDS:.0f} s, ms · tiers: {shares}")
    for name in ("stage", "p50", "p99", "p99.9", "max"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, spread in summary.answers.stages_ms.items():
        table.add_row(f"  {stage}", *_cells(spread))
    table.add_row("[bold]as the client sees it[/bold]", *_cells(summary.latency_ms))
    return table


def _cells(spread: Spread) -> list[str]:
    return [f"{value:.2f}" for value in (spread.p50, spread.p99, spread.p999, spread.max)]


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _until_interrupted(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait()
    except KeyboardInterrupt:
        console.print("stopping")
