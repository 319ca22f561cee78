"""Step three: the trained ranker as int8 graphs over a folded item table, and the proof that they agree with it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from upnext.cli.pipeline.plan import TrainSettings
from upnext.compress.parity import GraphParity, check_parity, parity_report
from upnext.compress.ranker import ExportedRanker, export_ranker
from upnext.features.spec import CROSS
from upnext.funnel.ranking.ranker import GraphRanker
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session
from upnext.training.ranker_loop import train_ranker


@dataclass(frozen=True)
class CompressedRanker:
    """What a release takes of a ranker."""

    exported: ExportedRanker
    parity: list[GraphParity]
    default_exit: str

    def opened(self, chunk: int) -> GraphRanker:
        """The int8 graphs, ready to score, without a release."""
        graphs = {exit_name(depth): open_session(graph) for depth, graph in sorted(self.exported.int8_graphs.items())}
        return GraphRanker(graphs, self.exported.items.table, default_exit=self.default_exit, chunk=chunk)


def exit_name(depth: int) -> str:
    """What the exit after `depth` hidden layers is called in releases, settings and responses."""
    return f"exit{depth}"


def train_and_compress(
    lists: RankerLists, settings: TrainSettings, checkpoint: Path, seed: int, progress: Callable[[int, int, str], None]
) -> CompressedRanker:
    """Trains the ranker, exports every exit in both precisions, compares. Raises `ParityError` when they disagree."""
    order = np.random.default_rng(seed).permutation(len(lists))
    n_parity = min(settings.lists.parity, len(lists) // 5)
    learning, kept_back = lists.take(order[n_parity:]), lists.take(order[:n_parity])
    config = settings.ranker
    if config.prior_column is None:  # before any training it orders as the session encoder does
        config = msgspec.structs.replace(config, prior_column=CROSS.index("session_score"))
    model = train_ranker(learning, config, seed=seed, checkpoint=checkpoint, progress=progress)
    exported = export_ranker(model, learning)
    parity = parity_report(model, exported, kept_back)
    check_parity(parity, settings.parity)
    return CompressedRanker(exported, parity, _best_exit(parity))


def _best_exit(parity: list[GraphParity]) -> str:
    """The shallowest int8 exit whose NDCG@10 is within 0.5 % of the best one's."""
    quantized = sorted((each for each in parity if each.precision == "int8"), key=lambda each: each.exit_depth)
    best = max(each.ndcg_graph for each in quantized)
    return exit_name(next(each.exit_depth for each in quantized if each.ndcg_graph >= 0.995 * best))
