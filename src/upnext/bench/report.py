"""A run as something to read or keep: a table for the terminal, JSON for later; measures nothing."""

import math
from pathlib import Path

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from upnext.bench.machine import Machine, this_machine
from upnext.bench.run import Plan
from upnext.bench.summary import Spread, Summary


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, of what machine, with what result: the shape of the JSON file."""

    url: str
    loop: str  # "open" or "closed"
    parameters: dict[str, float | int | str | None]
    machine: Machine
    result: Summary


def report_of(plan: Plan, result: Summary, machine: Machine | None = None) -> Report:
    """The report of a run of `plan`, on this machine unless another is given."""
    return Report(
        url=str(plan.target),
        loop="closed" if plan.rate_per_s is None else "open",
        parameters={
            "rate_per_s": plan.rate_per_s,
            "arrivals": plan.arrivals if plan.rate_per_s is not None else None,
            "seconds": plan.seconds,
            "warmup_s": plan.warmup_s,
            "connections": plan.connections,
            "users": len(plan.user_ids),
            "k": plan.k,
            "seed": plan.seed,
            "timeout_ms": plan.timeout_ms,
        },
        machine=machine or this_machine(),
        result=result,
    )


def write_json(report: Report, path: Path) -> None:
    """Replace the file by the report, indented."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def as_table(report: Report) -> Group:
    """What a terminal shows: a heading, the latency by part of the request, then shares and failures."""
    result, machine = report.result, report.machine
    asked = f"{report.parameters['rate_per_s']:g}/s" if report.loop == "open" else "as fast as it answers"
    heading = Text(
        f"{report.url}  {report.loop} loop, {asked}, {result.seconds:g} s, "
        f"{report.parameters['connections']} connections\n"
        f"{machine.cpu}, {machine.usable_cores} of {machine.cores} cores, commit {machine.commit or 'unknown'}"
    )
    return Group(heading, _latency_table(result), _outcome_table(result))


def _latency_table(result: Summary) -> Table:
    table = Table("ms", "p50", "p90", "p99", "p99.9", "max", "samples")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {"latency": result.latency_ms}
    rows |= {f"  {stage}": spent for stage, spent in result.answers.stages_ms.items()}
    rows["generator late"] = result.lateness_ms
    for name, row in rows.items():
        table.add_row(name, *_figures(row), f"{row.count:,}")
    return table


def _figures(row: Spread) -> list[str]:
    values = (row.p50, row.p90, row.p99, row.p999, row.max)
    return ["–" if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in values]


def _outcome_table(result: Summary) -> Table:
    table = Table(show_header=False)
    table.add_row("answered", f"{result.answered:,} of {result.requests:,}, {result.achieved_per_s:,.1f}/s")
    if result.failures:
        failures = ", ".join(f"{kind} {count:,}" for kind, count in result.failures.items())
        table.add_row("failed", f"[red]{result.failed:,}[/red]: {failures}")
    if result.queued_share:
        table.add_row("waited for a connection", f"{result.queued_share:.1%} (counted in the latency)")
    answers = result.answers
    for name, parts in (("tier", answers.tiers), ("route", answers.routes), ("degraded", answers.degradations)):
        if parts:
            table.add_row(name, ", ".join(f"{part} {share:.1%}" for part, share in parts.items()))
    lengths = ", ".join(f"{length} × {count:,}" for length, count in answers.slate_lengths.items())
    table.add_row("items per answer", lengths or "–")
    return table
