"""Results of faults as a table for people and JSON for machines; measures nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tests.faults.pressure_figures import Result, SlateFigures
from upnext.bench.machine import this_machine

if TYPE_CHECKING:
    from tests.faults.pressure_trial import Load

_BEGIN, _END = "<!-- results -->\n", "<!-- end of results -->\n"
_HEADER = (
    "| fault | slates | failed | own resets | p50 ms | p99 ms | max ms | max ms, in the server | tiers during it "
    "| degraded during it | breakers | full again after | events | p99 ms | log lines | |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---|---|---|---:|---|---:|---:|---|"
)


def as_markdown(results: Sequence[Result], load: "Load", repository: Path) -> str:
    """A heading, a row per fault, and what is broken."""
    machine = this_machine(repository)
    lines = [
        f"{machine.cpu}, {machine.usable_cores} cores for {load.workers} workers and the load.",
        f"Commit {machine.commit}.",
        f"{load.slates_per_s:g} slates/s and {load.events_per_s:g} events/s: {load.calm_s:g} s of calm, "
        f"{load.fault_s:g} s of the fault, {load.after_s:g} s after it.",
        "",
        _HEADER,
        *(_row(result) for result in results),
        "",
    ]
    broken = [f"- `{result.name}`: {what}" for result in results for what in result.broken()]
    lines += ["Broken:", "", *broken] if broken else ["Nothing is broken."]
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Result], load: "Load", repository: Path) -> bytes:
    """All figures; of latencies the percentiles."""
    document = {
        "machine": msgspec.to_builtins(this_machine(repository)),
        "load": asdict(load),
        "faults": [_document(result) for result in results],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def into_document(table: str, path: Path) -> None:
    """Puts the table where `path` has its results, or at the end of it."""
    text = path.read_text() if path.exists() else ""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    path.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}")


def _row(result: Result) -> str:
    phases = result.phases.values()
    during = result.phases["fault"]
    client_ms = [ms for phase in phases for ms in phase.client_ms] or [float("nan")]
    server_ms = [ms for phase in phases for ms in phase.server_ms] or [float("nan")]
    p50, p99 = np.percentile(during.client_ms or [float("nan")], [50, 99])
    events = sum(result.events.values(), Counter())
    cells = (
        result.name,
        f"{sum(phase.answered for phase in phases):,}",
        sum(phase.errors.total() for phase in phases),
        sum(phase.own_resets for phase in phases),
        f"{p50:.1f}",
        f"{p99:.1f}",
        f"{max(client_ms):.1f}",
        f"{max(server_ms):.1f}",
        _shares(during.tiers, during.answered),
        _shares(Counter(dict(during.reasons.most_common(4))), during.answered),
        ", ".join(f"{breaker} {state} {n}" for (breaker, state), n in sorted(result.breakers.items())) or "–",
        "never" if result.recovered_s is None else f"{result.recovered_s:.0f} s",
        ", ".join(f"{kind}: {n:,}" for kind, n in events.most_common()),
        f"{result.event_p99_ms['fault']:.0f}",
        f"{result.log_lines:,}",
        "BROKEN" if result.broken() else "holds",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _shares(counts: Counter[str], total: int) -> str:
    return ", ".join(f"{name} {count / max(total, 1):.1%}" for name, count in counts.most_common()) or "–"


def _document(result: Result) -> dict[str, object]:
    return {
        "name": result.name,
        "broken": result.broken(),
        "kills": len(result.moments.kills),
        "full_again_after_s": result.recovered_s,
        "generator_late_max_ms": result.late_ms,
        "log_lines": result.log_lines,
        "breakers": {f"{breaker} {state}": n for (breaker, state), n in sorted(result.breakers.items())},
        "events": {phase: dict(kinds) for phase, kinds in result.events.items()},
        "event_p99_ms": result.event_p99_ms,
        "phases": {name: _phase(phase) for name, phase in result.phases.items()},
    }


def _phase(phase: SlateFigures) -> dict[str, object]:
    return {
        "answered": phase.answered,
        "errors": dict(phase.errors),
        "own_resets": phase.own_resets,
        "client_ms": _spread(phase.client_ms),
        "server_ms": _spread(phase.server_ms),
        "tiers": dict(phase.tiers.most_common()),
        "degraded": dict(phase.reasons.most_common()),
    }


def _spread(values_ms: Sequence[float]) -> dict[str, float] | None:
    if not values_ms:
        return None
    names = ("p50", "p90", "p99", "p999", "max")
    return dict(zip(names, np.percentile(values_ms, [50, 90, 99, 99.9, 100]).round(3).tolist(), strict=True))
