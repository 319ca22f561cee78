"""The Pareto picture of a sweep: quality against microseconds and against bytes; chooses nothing."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from upnext.compress.choose import pareto_front
from upnext.compress.sweep import SweepRow

# Okabe and Ito's colours, told apart with any kind of colour vision; exits differ by their marker as well.
COLOURS = {"float32": "#D55E00", "int8": "#0072B2", "int4": "#009E73"}
MARKERS = ("o", "s", "^", "D", "v", "P")


def pareto_png(rows: Sequence[SweepRow], chosen: Sequence[SweepRow], title: str) -> bytes:
    """A PNG with a panel per cost: a mark per row of the most candidates, the front as a line, the chosen ringed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    most = max(row.candidates for row in rows)
    shown = [row for row in rows if row.candidates == most]
    figure = Figure(figsize=(12, 5.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    times, sizes = figure.subplots(1, 2, sharey=True)
    _panel(times, shown, chosen, lambda row: row.p50_us, f"µs for {most} candidates, one thread (median)")
    _panel(sizes, shown, chosen, lambda row: row.graph_bytes / 1024, "KiB of the graph")
    times.set_ylabel("NDCG@10")
    handles, labels = times.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=11)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _panel(
    axes: Any, rows: Sequence[SweepRow], chosen: Sequence[SweepRow], cost: Callable[[SweepRow], float], label: str
) -> None:
    markers = dict(zip(sorted({row.exit_depth for row in rows}), MARKERS, strict=False))
    front = pareto_front(rows, cost)
    axes.plot([cost(row) for row in front], [row.ndcg for row in front], color="#999999", zorder=1, label="front")
    for precision, colour in COLOURS.items():
        for depth, marker in markers.items():
            some = [row for row in rows if (row.precision, row.exit_depth) == (precision, depth)]
            if some:
                places = [cost(row) for row in some], [row.ndcg for row in some]
                axes.scatter(*places, c=colour, marker=marker, s=36, zorder=2, label=f"{precision}, exit {depth}")
    ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.6, "s": 150, "zorder": 3}
    axes.scatter([cost(row) for row in chosen], [row.ndcg for row in chosen], label="chosen", **ring)
    for place, row in enumerate(sorted({*chosen, *front}, key=cost)):
        name = f"{row.width:g} {row.precision} exit {row.exit_depth}"
        above = 9 if place % 2 else -15  # neighbours on either side of the line, or they cover each other
        axes.annotate(name, (cost(row), row.ndcg), xytext=(4, above), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
