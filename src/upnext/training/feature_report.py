"""What was found about a ranker's inputs, as a record and as a picture; measures nothing."""

import io

import msgspec

_MOST_BARS = 60
_KEPT, _OTHER = "#0072B2", "#999999"  # Okabe and Ito's colours


class FeatureLine(msgspec.Struct, frozen=True, kw_only=True):
    """One input: how much NDCG@10 drops when it is shuffled, with the standard error of that over the lists."""

    side: str  # "cross", "user" or "item"
    name: str
    importance: float
    error: float
    kept: bool


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """NDCG@10 of a probe with so many of the best inputs, on lists that nothing was chosen by."""

    n_features: int
    ndcg: float
    error: float
    kept: bool  # whether these are the ones that the ranker gets


class FeatureReport(msgspec.Struct, frozen=True, kw_only=True):
    """The selection of one training run."""

    n_features: int  # engineered inputs looked at; vectors and genres are beside them
    n_lists: int
    repeats: int
    ndcg_measured: float  # of the probe that importance was measured with, among the first candidates of each list
    features: list[FeatureLine]  # the session encoder's score, then by falling importance
    left_out: dict[str, str | None]  # side/name → the input that says the same, None where it never varies
    curve: list[CurvePoint]


def features_png(report: FeatureReport) -> bytes:
    """A picture of the report as PNG: importance of the first 60 inputs, and NDCG@10 by their number."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = report.features[:_MOST_BARS]
    figure = Figure(figsize=(13, 0.19 * len(lines) + 2.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    bars, curve = figure.subplots(1, 2)
    names = [line.name if line.side == "cross" else f"{line.name} ({line.side})" for line in lines]
    colours = [_KEPT if line.kept else _OTHER for line in lines]
    places = range(len(lines))
    bars.barh(
        places,
        [line.importance for line in lines],
        xerr=[line.error for line in lines],
        color=colours,
        ecolor="#555555",
    )
    bars.set_yticks(places, names, fontsize=7)
    bars.set_ylim(len(lines) - 0.4, -0.6)
    bars.set_title("NDCG@10 lost when shuffled (blue: kept)", fontsize=10)
    numbers = [point.n_features for point in report.curve]
    curve.errorbar(
        numbers, [point.ndcg for point in report.curve], yerr=[point.error for point in report.curve],
        color=_KEPT, marker="o", capsize=3,
    )  # fmt: skip
    for point in report.curve:
        label = f"{point.n_features}{' (kept)' if point.kept else ''}: {point.ndcg:.4f}"
        curve.annotate(label, (point.n_features, point.ndcg), (0, 8), textcoords="offset points", fontsize=8)
    curve.set_xscale("log")
    curve.set_xticks(numbers, [str(number) for number in numbers], fontsize=8)
    curve.minorticks_off()
    curve.set_title("NDCG@10 of a probe with the best n features", fontsize=10)
    for axes in (bars, curve):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{report.n_features} features, {report.n_lists:,} lists, {report.repeats} shuffles", fontsize=11)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
