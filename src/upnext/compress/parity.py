"""Whether exported graphs still rank like the trained ranker, and what they cost; exports nothing itself."""

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.compress.fold import Floats
from upnext.compress.ranker import ExportedRanker, score_lists_with
from upnext.compress.timing import time_in_turns
from upnext.errors import ParityError
from upnext.models.ranker_dnn import RankerDnn, score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session
from upnext.training.metrics import ndcg, places_in_scores


class ParityBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a graph may lose against its trained model."""

    # Largest relative loss of NDCG@10 on held-out lists; to break it a loss must lie two standard errors beyond it, so
    # that the luck of few lists refuses no release.
    max_ndcg_loss: float = 0.005
    # Smallest mean rank correlation (Spearman) with the trained model over the lists.
    min_rank_agreement: float = 0.98
    # Largest score error of a float32 graph, in units of the scores' standard deviation: only rounding separates them.
    max_float_error: float = 5e-3


class GraphParity(msgspec.Struct, frozen=True, kw_only=True):
    """One graph beside the trained model at the same exit; times are microseconds per call (`timing.TIMED_ROWS`)."""

    exit_depth: int
    precision: str
    n_lists: int
    ndcg_trained: float
    ndcg_graph: float
    rank_agreement: float
    # Standard error of `ndcg_loss`, from the differences list by list.
    ndcg_loss_error: float
    # Largest score difference, in units of the standard deviation of the trained model's scores.
    max_score_error: float
    graph_bytes: int
    p50_us: float
    p99_us: float

    @property
    def ndcg_loss(self) -> float:
        """Relative; negative when the graph is better."""
        return 1 - self.ndcg_graph / self.ndcg_trained if self.ndcg_trained else 0.0


def parity_report(model: RankerDnn, exported: ExportedRanker, lists: RankerLists) -> list[GraphParity]:
    """Every graph against `model` on `lists`, which should be other lists than it was trained and calibrated on.

    All graphs are timed in turns within one run, so that a busy machine slows them alike. Raises ParityError when
    `lists` belong to another catalogue than the item table.
    """
    _check_catalogue(exported, lists)
    graphs = [("float32", depth, graph) for depth, graph in exported.float_graphs.items()]
    graphs += [("int8", depth, graph) for depth, graph in exported.int8_graphs.items()]
    sessions = [open_session(graph) for _, _, graph in graphs]
    times_us = time_in_turns(sessions)
    trained = {depth: score_lists(model, lists, depth) for depth in exported.float_graphs}
    report = []
    for (precision, depth, graph), session, times in zip(graphs, sessions, times_us, strict=True):
        scores = score_lists_with(session, exported, lists)
        valid = np.isfinite(trained[depth])
        error = np.abs(scores[valid] - trained[depth][valid]).max() / max(float(trained[depth][valid].std()), 1e-12)
        gains, gains_trained = (_gains(each, lists) for each in (scores, trained[depth]))
        report.append(
            GraphParity(
                exit_depth=depth,
                precision=precision,
                n_lists=len(lists),
                ndcg_trained=float(gains_trained.mean()),
                ndcg_graph=float(gains.mean()),
                ndcg_loss_error=float(
                    (gains - gains_trained).std() / max(gains_trained.sum(), 1e-12) * len(lists) ** 0.5
                ),
                rank_agreement=rank_agreement(trained[depth], scores),
                max_score_error=float(error),
                graph_bytes=len(graph),
                p50_us=float(np.percentile(times, 50)),
                p99_us=float(np.percentile(times, 99)),
            )
        )
    return report


def check_parity(report: list[GraphParity], bounds: ParityBounds) -> None:
    """Raises ParityError, with both numbers, for the first graph outside the bounds."""
    for graph in report:
        name, found = f"the {graph.precision} graph of exit {graph.exit_depth}", None
        if not graph.ndcg_loss - 2 * graph.ndcg_loss_error <= bounds.max_ndcg_loss:
            found = (
                f"NDCG@10 is {graph.ndcg_graph:.4f} against {graph.ndcg_trained:.4f} of the trained model, a loss of "
                f"{graph.ndcg_loss:.2%} ± {graph.ndcg_loss_error:.2%}; at most {bounds.max_ndcg_loss:.2%} is allowed"
            )
        elif not graph.rank_agreement >= bounds.min_rank_agreement:
            found = (
                f"rank agreement with the trained model is {graph.rank_agreement:.4f}; "
                f"at least {bounds.min_rank_agreement:.4f} is asked"
            )
        elif graph.precision == "float32" and not graph.max_score_error <= bounds.max_float_error:
            found = (
                f"the largest score error is {graph.max_score_error:.2g} deviations; "
                f"at most {bounds.max_float_error:.2g} is allowed"
            )
        if found is not None:
            raise ParityError(
                f"{name}: {found}; calibrate on lists that look more like the requests, or release another precision"
            )


def _gains(scores: Floats, lists: RankerLists) -> npt.NDArray[np.float64]:
    """NDCG@10 of each list."""
    return np.array([ndcg(place, 10) for place in places_in_scores(scores, lists.target)[:, None]])


def _check_catalogue(exported: ExportedRanker, lists: RankerLists) -> None:
    some = slice(0, 256)
    table, rows = exported.items.table, exported.items.rows(lists.item_inputs[some])
    if len(table) != len(lists.item_inputs) or np.abs(rows.astype(int) - table[some]).max(initial=0) > 1:
        raise ParityError(
            f"the item table ({len(table)} items) was made from other item inputs than the lists hold "
            f"({len(lists.item_inputs)} items); export with the lists' catalogue"
        )


def rank_agreement(expected: Floats, found: Floats) -> float:
    """Spearman's rank correlation of two scorings (n_lists, n), averaged over lists; -inf in `expected` is left out.

    Lists of fewer than two candidates are left out too; 1.0 when none is left. NaN in `found` gives NaN.
    """
    agreements = []
    for a, b in zip(expected, found, strict=True):
        valid = np.isfinite(a)
        if valid.sum() >= 2:
            agreements.append(_spearman(a[valid], b[valid]))
    return float(np.mean(agreements)) if agreements else 1.0


def _spearman(a: Floats, b: Floats) -> float:
    if np.isnan(b).any():
        return float("nan")
    ranks_a, ranks_b = _centred_ranks(a), _centred_ranks(b)
    spread = np.sqrt((ranks_a**2).sum() * (ranks_b**2).sum())
    return float((ranks_a * ranks_b).sum() / spread) if spread else float(bool((ranks_a == ranks_b).all()))


def _centred_ranks(values: Floats) -> npt.NDArray[np.float64]:
    """Ranks around 0, equal values sharing the mean of theirs: quantized scores do tie."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(middle[inverse] - (len(values) - 1) / 2, dtype=np.float64)
