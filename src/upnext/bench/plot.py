"""A run as a picture: latency by percentile, and tiers over time; needs matplotlib, which a server does not."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from upnext.bench.replies import count_replies
from upnext.bench.run import Run
from upnext.bench.samples import Outcome
from upnext.bench.summary import latencies_ms
from upnext.errors import UpnextError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_TIER_COLOURS = {
    "full": "#009E73",
    "fast": "#56B4E9",
    "popular": "#E69F00",
    "unnamed": "#999999",
    "no answer": "#D55E00",
}


def draw_run(run: Run, path: Path, title: str) -> None:
    """Write a PNG: left the latency at each percentile, both axes logarithmic; right the tiers of each second.

    Raises UpnextError when matplotlib is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise UpnextError("drawing needs matplotlib; install it with: pip install 'upnext[train]'") from error
    figure, (curve, tiers) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2), layout="constrained")
    _draw_curve(curve, np.sort(latencies_ms(run)))
    _draw_tiers(tiers, tiers_by_second(run))
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def tiers_by_second(run: Run) -> dict[str, list[float]]:
    """Share of each tier in every second after the warm-up, over the bodies read and the requests without answer."""
    samples, plan = run.samples, run.plan
    seconds = max(1, int(np.ceil(plan.seconds)))
    counts: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}

    def count(index: int, tier: str, weight: float) -> None:
        second = int((samples.intended_ms[index] - plan.warmup_s * 1e3) // 1e3)
        if samples.intended_ms[index] >= plan.warmup_s * 1e3 and second < seconds:
            counts.setdefault(tier, np.zeros(seconds))[second] += weight

    for index, tier in count_replies(samples.bodies).tier_of.items():
        count(index, tier or "unnamed", samples.bodies.every)
    for index, outcome in enumerate(samples.outcome):
        if outcome != Outcome.REPLIED:
            count(index, "no answer", 1.0)
    total = np.maximum(sum(counts.values(), np.zeros(seconds)), 1.0)
    return {tier: (per_second / total).tolist() for tier, per_second in counts.items()}


def _draw_curve(axes: "Axes", ordered_ms: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    count = len(ordered_ms)
    if not count:
        axes.set_title("no answers")
        return
    rarity = count / (count - np.arange(count))  # one in how many requests is at least this slow
    axes.plot(rarity, ordered_ms, color="#0072B2", linewidth=1.8, drawstyle="steps-post")
    ticks = [(2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1e3, "99.9 %"), (1e4, "99.99 %"), (1e5, "99.999 %")]
    axes.set(xscale="log", yscale="log", xlabel="percentile of requests", ylabel="latency from intended start, ms")
    shown = [(at, name) for at, name in ticks if at <= max(count, 2)]
    axes.set_xticks([at for at, _ in shown], [name for _, name in shown])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def _draw_tiers(axes: "Axes", tiers: dict[str, list[float]]) -> None:
    bottom = np.zeros(max(map(len, tiers.values()), default=1))
    for tier in sorted(tiers, key=lambda name: [*_TIER_COLOURS, name].index(name)):
        colour = _TIER_COLOURS.get(tier, "#CC79A7")
        axes.bar(np.arange(len(bottom)) + 0.5, tiers[tier], bottom=bottom, width=1.0, label=tier, color=colour)
        bottom += tiers[tier]
    axes.set(xlabel="second of the run", ylabel="share of requests", ylim=(0, 1), xlim=(0, len(bottom)))
    if tiers:
        axes.legend(loc="lower right", fontsize=8)
