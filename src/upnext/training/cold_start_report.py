"""Quality by number of interactions as tables and a picture; knows figures by name, not how they were found."""

from pathlib import Path

from rich.table import Table

from upnext.training.cold_start import FIGURES, SWITCHES, WITH, WITHOUT, ColdStart
from upnext.training.report import COLOURS


def starts_table(report: ColdStart) -> Table:
    """One line per number of interactions: each figure without and with content, and whether it helps."""
    table = Table(title=f"{report.dataset}, {report.protocol}, release {report.release}, as served")
    table.add_column("known", justify="right")
    table.add_column("cases", justify="right")
    for figure in FIGURES:
        for name in ("without", "with"):
            table.add_column(f"{figure} {name}", justify="right")
    table.add_column(f"{FIGURES[0]}, with − without")
    for start in report.starts:
        cells = [
            _cell(start.systems[name].get(figure), start.intervals[name].get(figure))
            for figure in FIGURES
            for name in (WITHOUT, WITH)
        ]
        difference = next(each for each in start.content_helps if each.figure == FIGURES[0])
        table.add_row(
            str(start.n_known), f"{start.n_cases:,}", *cells, f"{difference.difference:+.4f} {difference.verdict}"
        )
    return table


def until_table(report: ColdStart) -> Table:
    """All starts together, by when the content source is swapped out."""
    table = Table(title="all starts together, content until so many interactions")
    for name in ("until", "cases", *FIGURES):
        table.add_column(name, justify="right")
    for name, figures in report.until.items():
        cells = [_cell(figures.get(figure), report.until_intervals[name].get(figure)) for figure in FIGURES]
        table.add_row({"0": "never"}.get(name, name), f"{int(figures['n_cases']):,}", *cells)
    return table


def write_png(report: ColdStart, path: Path) -> None:
    """Draw the report into a PNG file: a panel per figure, a line per system over its 95 % band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(FIGURES), 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    known = [start.n_known for start in report.starts]
    for axes, name in zip(figure.subplots(1, len(FIGURES), squeeze=False)[0], FIGURES, strict=True):
        for number, system in enumerate(report.starts[0].systems):
            values = [start.systems[system][name] for start in report.starts]
            bands = [start.intervals[system].get(name, (start.systems[system][name],) * 2) for start in report.starts]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(known, values, color=colour, marker="o", markersize=3, label=system)
            axes.fill_between(known, [low for low, _ in bands], [high for _, high in bands], color=colour, alpha=0.15)
        for switch in SWITCHES[1:]:
            axes.axvline(switch, color="#999999", linewidth=0.8, linestyle=":")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("interactions known", fontsize=9)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.suptitle(f"{report.dataset}, {report.protocol}, as served; dotted: where content may be swapped out")
    figure.savefig(path, format="png")


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f} ±{(interval[1] - interval[0]) / 2:.3f}".replace("±0.", "±.") if interval else f"{value:.4f}"
