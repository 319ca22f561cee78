"""Candidates × precision × width, each measured for what it ranks, what it costs and what it weighs; chooses none."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.compress.fold import Floats
from upnext.compress.parity import gains_of, rank_agreement
from upnext.compress.ranker import score_lists_with, table_items
from upnext.compress.timing import time_in_turns
from upnext.compress.widths import Widths
from upnext.models.ranker_dnn import score_lists
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session


class CompressSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the ranker is tried as before it is released, and which of it is taken."""

    # False tries nothing: the whole ranker in int8.
    sweep: bool = True
    # Shares of each layer's neurons that are kept; the whole ranker (1.0) always takes part.
    widths: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)
    precisions: tuple[Literal["float32", "int8", "int4"], ...] = ("float32", "int8", "int4")
    # How many of the first retrieved candidates are ranked; the largest number decides what is taken, the others tell
    # what fewer would cost and bring.
    candidates: tuple[int, ...] = (500, 250)
    # Passes over so many lists at most, to fine-tune each pruned width.
    fine_tune_epochs: int = 3
    fine_tune_lists: int = 6_000
    # Largest relative loss of NDCG@10 against the best, of the deepest exit and of the shallowest; those between them
    # lie between.
    within: float = 0.005
    shallow_within: float = 0.03
    # With fewer lists kept back luck would choose: nothing is tried then.
    fewest_lists: int = 200
    # Also writes the ranker's lists beside its checkpoint (lists.npz), for benchmarks/ranker_compression.py.
    keep_lists: bool = False


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One exit at one width in one precision, ranking so many candidates.

    `ndcg` is NDCG@10 on lists kept back; `error` the standard error of its difference to the best row's, list by list:
    what is closer than that may be luck; `rank_agreement` is Spearman's with the trained ranker of the same width;
    `p50_us` the median microseconds of a call on this machine, one thread; `item_bytes` what an item of the catalogue
    takes in the table.
    """

    exit_depth: int
    precision: str
    width: float
    candidates: int
    ndcg: float
    rank_agreement: float
    p50_us: float
    graph_bytes: int
    item_bytes: int
    error: float = 0.0


def sweep(
    widths: Widths,
    precisions: Sequence[str],
    candidates: Sequence[int],
    lists: RankerLists,
    progress: Callable[[int, int], None] | None = None,
) -> list[SweepRow]:
    """Every exit of every width in every precision, measured on `lists`; all timed in turns, in one process.

    More candidates than the lists hold count as all of them.
    """
    tried = [
        (width, precision, depth)
        for width in widths.by_share.values()
        for precision in precisions
        for depth in width.weights.exits
    ]
    graphs = [width.graph(precision, depth, width.n_first) for width, precision, depth in tried]
    sessions = [open_session(graph) for graph in graphs]
    counts = sorted({min(count, lists.n_candidates) for count in candidates}, reverse=True)
    p50_us = {count: np.median(time_in_turns(sessions, count), axis=1) for count in counts}
    table = widths.table(len(widths.units), lists.item_inputs).table
    trained = {
        (width.share, depth): score_lists(width.model, lists, depth)
        for width in widths.by_share.values()
        for depth in width.weights.exits
    }
    rows: list[SweepRow] = []
    gains = []
    for number, ((width, precision, depth), graph, session) in enumerate(zip(tried, graphs, sessions, strict=True)):
        items = table_items(np.ascontiguousarray(table[:, : width.n_first]))
        scores = score_lists_with(session, items, lists)
        agreement = rank_agreement(trained[width.share, depth], scores)
        for count in counts:
            gains.append(gains_of_first(scores, lists, count))
            row = SweepRow(
                exit_depth=depth,
                precision=precision,
                width=width.share,
                candidates=count,
                ndcg=float(gains[-1].mean()),
                rank_agreement=agreement,
                p50_us=float(p50_us[count][number]),
                graph_bytes=len(graph),
                item_bytes=width.n_first,
            )
            rows.append(row)
        if progress is not None:
            progress(number + 1, len(tried))
    best = gains[int(np.argmax([row.ndcg for row in rows]))]
    errors = [float(np.std(each - best) / np.sqrt(len(best))) for each in gains]
    return [msgspec.structs.replace(row, error=error) for row, error in zip(rows, errors, strict=True)]


def gains_of_first(scores: Floats, lists: RankerLists, count: int) -> npt.NDArray[np.float64]:
    """What each list adds to NDCG@10 when only its first `count` are ranked and the others come after them."""
    first = np.where(np.arange(lists.n_candidates) < count, scores, -np.inf).astype(np.float32)
    return gains_of(first, lists)
