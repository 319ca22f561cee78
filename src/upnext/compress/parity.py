"""Whether exported graphs still rank like the trained ranker, and what they cost; exports nothing itself."""

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime

from upnext.compress.fold import Floats, FoldedItems
from upnext.compress.ranker import ExportedRanker, ItemPart, float_items, score_lists_with, table_items
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """One exit of `model` as `graph`, which takes `items` as its item side."""

    precision: str
    exit_depth: int
    graph: bytes
    items: ItemPart
    model: RankerDnn


def parity_report(model: RankerDnn, exported: ExportedRanker, lists: RankerLists) -> list[GraphParity]:
    """Every graph against `model` on `lists`, which should be other lists than it was trained and calibrated on.

    Raises ParityError when `lists` belong to another catalogue than the item table.
    """
    check_catalogue(exported.items, lists)
    exact, table = float_items(exported.weights, lists), table_items(exported.items.table)
    graphs = [Candidate("float32", depth, graph, exact, model) for depth, graph in exported.float_graphs.items()]
    graphs += [Candidate("int8", depth, graph, table, model) for depth, graph in exported.int8_graphs.items()]
    return parity_of(graphs, lists)


def parity_of(graphs: list[Candidate], lists: RankerLists) -> list[GraphParity]:
    """Every graph against its model on `lists`; all timed in turns, so that a busy machine slows them alike."""
    sessions = [open_session(each.graph) for each in graphs]
    times_us = time_in_turns(sessions)
    return [
        _parity(each, session, times, lists) for each, session, times in zip(graphs, sessions, times_us, strict=True)
    ]


def _parity(
    graph: Candidate, session: onnxruntime.InferenceSession, times_us: npt.NDArray[np.float64], lists: RankerLists
) -> GraphParity:
    trained = score_lists(graph.model, lists, graph.exit_depth)
    scores = score_lists_with(session, graph.items, lists)
    valid = np.isfinite(trained)
    error = np.abs(scores[valid] - trained[valid]).max() / max(float(trained[valid].std()), 1e-12)
    gains, gains_trained = (gains_of(each, lists) for each in (scores, trained))
    return GraphParity(
        exit_depth=graph.exit_depth,
        precision=graph.precision,
        n_lists=len(lists),
        ndcg_trained=float(gains_trained.mean()),
        ndcg_graph=float(gains.mean()),
        ndcg_loss_error=float((gains - gains_trained).std() / max(gains_trained.sum(), 1e-12) * len(lists) ** 0.5),
        rank_agreement=rank_agreement(trained, scores),
        max_score_error=float(error),
        graph_bytes=len(graph.graph),
        p50_us=float(np.percentile(times_us, 50)),
        p99_us=float(np.percentile(times_us, 99)),
    )


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


def gains_of(scores: Floats, lists: RankerLists) -> npt.NDArray[np.float64]:
    """NDCG@10 of each list."""
    return np.array([ndcg(place, 10) for place in places_in_scores(scores, lists.target)[:, None]])


def check_catalogue(items: FoldedItems, lists: RankerLists) -> None:
    """Raises ParityError when the table was made from other item inputs than those of `lists`."""
    some = slice(0, 256)
    table, rows = items.table, items.rows(lists.item_inputs[some])
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
