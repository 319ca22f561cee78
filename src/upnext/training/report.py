"""An evaluation on the screen, as a picture and as a file; knows figures by name, not how they were found."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.table import Table

from upnext.training.bootstrap import Interval
from upnext.training.evaluate import Figures
from upnext.training.measured import Intervals, Measured, SegmentFigures

# Okabe and Ito's colours, told apart with any kind of colour vision; each bar is labelled as well.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")
COUNTS = ("n_cases",)
"""Figures that are counts: shown as whole numbers and left out of the picture."""


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, on what. Its JSON has exactly these keys; `release` is None for systems outside a release.

    `intervals` and `segments` are as in `Measured`, empty where nothing of the kind was worked out.
    """

    dataset: str
    split: str
    seed: int
    release: str | None
    systems: dict[str, Figures]
    intervals: dict[str, Intervals] = {}
    segments: dict[str, SegmentFigures] = {}

    @classmethod
    def of(cls, measured: Measured, *, dataset: str, split: str, seed: int, release: str | None) -> "EvaluationReport":
        """The report of what was measured."""
        return cls(
            dataset=dataset, split=split, seed=seed, release=release, systems=measured.systems,
            intervals=measured.intervals, segments=measured.segments,
        )  # fmt: skip


def write_json(report: msgspec.Struct, path: Path) -> None:
    """Replace the file at `path` by a report, indented; after a crash it is the old file or the new one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    os.replace(draft, path)


def read_json(path: Path) -> EvaluationReport:
    """The report in the file at `path`. Raises FileNotFoundError, or msgspec.ValidationError for another shape."""
    return msgspec.json.decode(path.read_bytes(), type=EvaluationReport)


def as_table(report: EvaluationReport) -> Table:
    """One line per system, one column per figure, the best of each in bold; "–" where a system lacks a figure.

    Behind a figure stands half the width of its 95 % interval, where there is one.
    """
    table = Table(title=_title(report))
    table.add_column("system")
    names = _figure_names(report.systems)
    best = {name: max(figures.get(name, -math.inf) for figures in report.systems.values()) for name in names}
    for name in names:
        table.add_column(name, justify="right")
    for system, figures in report.systems.items():
        intervals = report.intervals.get(system, {})
        table.add_row(system, *(_cell(name, figures.get(name), best[name], intervals.get(name)) for name in names))
    return table


def segments_table(report: EvaluationReport, figure: str = "") -> Table:
    """One line per system, one column per segment: `figure`, by default the report's first, as in `as_table`."""
    figure = figure or _figure_names(report.systems)[0]
    table = Table(title=f"{figure} by segment")
    table.add_column("system")
    best = {}
    for name, segment in report.segments.items():
        table.add_column(f"{name}\n{segment.n_cases:,} cases", justify="right")
        best[name] = max(figures[figure] for figures in segment.systems.values())
    for system in report.systems:
        cells = [
            _cell(figure, segment.systems[system][figure], best[name], segment.intervals.get(system, {}).get(figure))
            for name, segment in report.segments.items()
        ]
        table.add_row(system, *cells)
    return table


def write_png(report: EvaluationReport, path: Path) -> None:
    """Draw the report into a PNG file: a group of bars per figure on its own scale, a bar per system with its value."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in _figure_names(report.systems) if name not in COUNTS]
    systems = list(report.systems)
    figure = Figure(figsize=(2.2 * len(names) + 1.4, 0.32 * len(systems) + 1.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    groups = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(groups, names, strict=True):
        values = [report.systems[system].get(name, 0.0) for system in systems]
        colours = [COLOURS[number % len(COLOURS)] for number in range(len(systems))]
        axes.bar_label(axes.barh(systems, values, color=colours), fmt="%.3f", fontsize=8, padding=3)
        axes.set_title(name, fontsize=10)
        axes.set_xlim(0, 1.3 * max(values, default=0.0) or 1.0)
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    groups[0].invert_yaxis()
    figure.suptitle(_title(report), fontsize=11)
    figure.savefig(path, format="png")


def _title(report: EvaluationReport) -> str:
    title = f"{report.dataset}, split {report.split}, seed {report.seed}"
    return f"{title}, release {report.release}" if report.release else title


def _figure_names(systems: Mapping[str, Figures]) -> list[str]:
    """All figures of all systems, in the order they first come, counts last."""
    names = list(dict.fromkeys(name for figures in systems.values() for name in figures))
    return [name for name in names if name not in COUNTS] + [name for name in names if name in COUNTS]


def _cell(name: str, value: float | None, best: float, interval: Interval | None) -> str:
    if value is None:
        return "–"
    if name in COUNTS:
        return f"{int(value):,}"
    text = f"[bold]{value:.4f}[/bold]" if value == best else f"{value:.4f}"
    return f"{text} ±{(interval[1] - interval[0]) / 2:.3f}".replace("±0.", "±.") if interval else text
