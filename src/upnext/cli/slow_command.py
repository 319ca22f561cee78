"""`upnext slow`: the slowest requests of the last hour of a running server, and what made them slow."""

import sys
from datetime import datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from upnext.cli.asking import ask, key_option, url_option
from upnext.cli.options import json_option
from upnext.cli.output import hand_over
from upnext.metrics.diary import SlowRequest
from upnext.serve.messages import SlowResponse

_STAGES = ("queue", "state", "retrieval", "ranking", "reranking")
_PATIENCE_MS = 10_000


@click.command("slow")
@url_option
@key_option
@click.option("-n", "most", type=click.IntRange(1, 240), default=20, show_default=True, help="How many.")
@json_option
def slow_command(url: str, key: str | None, most: int, json_path: Path | None) -> None:
    """Show the slowest requests of the last hour, slowest first, with the time of each stage.

    The cause is what most of the time went into: the queue, the store, an index, the ranker, the rules, the collector
    of garbage (gc), or waiting outside all of them.

    \b
    Examples:
      upnext slow
      upnext slow --url http://10.0.0.7:8080 --key "$OPERATE_KEY" -n 5 --json
    """
    raw = ask(url, f"/v1/ops/slow?n={most}", key=key, timeout_ms=_PATIENCE_MS)
    if not hand_over(msgspec.Raw(raw), json_path):
        return
    requests = msgspec.json.decode(raw, type=SlowResponse).requests
    if not requests:
        click.echo("no request was answered in the last hour", err=True)
        return
    Console(width=None if sys.stdout.isatty() else 160).print(table_of(requests))


def table_of(requests: list[SlowRequest]) -> Table:
    """A row a request."""
    table = Table(title="slowest requests of the last hour, times in ms")
    for name in ("at", "total", "cause", *_STAGES, "gc", "tier", "route", "user", "history", "less for", "request"):
        table.add_column(name, justify="right" if name in (*_STAGES, "total", "gc", "history") else "left")
    for each in requests:
        stages = (f"{each.timing_ms[stage]:.1f}" if stage in each.timing_ms else "" for stage in _STAGES)
        at = datetime.fromtimestamp(each.at_ms / 1_000).strftime("%H:%M:%S")
        table.add_row(
            at, f"{each.total_ms:.1f}", each.cause, *stages,
            f"{each.gc_ms:.1f}" if each.gc_ms else "", each.tier, each.route, escape(each.subject or ""),
            str(each.n_interactions), escape("; ".join(each.degraded)), each.request_id,
        )  # fmt: skip
    return table
