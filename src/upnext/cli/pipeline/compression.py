"""Step three: the trained ranker pruned and quantized as far as it bears, and the proof that its graphs agree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.cli.pipeline.impression_lists import with_impressions
from upnext.cli.pipeline.plan import TrainSettings
from upnext.compress.choose import choose, near_enough
from upnext.compress.kept import KeptRanker
from upnext.compress.parity import GraphParity, check_parity
from upnext.compress.served import ServedRanker, served_parity, served_ranker
from upnext.compress.sweep import CompressSettings, SweepRow, sweep
from upnext.compress.widths import pruned_models, quantize_widths
from upnext.funnel.ranking.ranker import GraphRanker
from upnext.models.ranker_dnn import RankerDnn
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session
from upnext.training.prior import best_prior
from upnext.training.ranker_loop import train_ranker
from upnext.training.worth import Worth, worth_learning

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class CompressedRanker:
    """What a release takes of a ranker: the graphs, how true they are, and what else was tried."""

    served: ServedRanker
    parity: list[GraphParity]
    rows: list[SweepRow]
    default_exit: str
    models: Mapping[float, RankerDnn]  # what the graphs were made of, by share of neurons, the whole one first
    worth: Worth | None = None  # of learning at all, where that was asked

    def with_items(self, item_inputs: Floats) -> "CompressedRanker":
        """The same for a catalogue whose raw inputs are `item_inputs` (n_items, d_item) now."""
        return replace(self, served=replace(self.served, items=self.served.items.of(item_inputs)))

    def opened(self, chunk: int) -> GraphRanker:
        """The graphs, ready to score, without a release."""
        graphs = {exit_name(depth): open_session(graph) for depth, graph in sorted(self.served.graphs.items())}
        return GraphRanker(graphs, self.served.items.table, default_exit=self.default_exit, chunk=chunk)


def exit_name(depth: int) -> str:
    """What the exit after `depth` hidden layers is called in releases, settings and responses."""
    return f"exit{depth}"


def train_and_compress(
    lists: RankerLists, settings: TrainSettings, checkpoint: Path, seed: int, progress: Progress,
    impressions: RankerLists | None = None,
) -> CompressedRanker:  # fmt: skip
    """Trains the ranker, then `compress_ranker` on lists kept back from it. Raises `ParityError` as that does."""
    if settings.compress.keep_lists:
        parts = {name: getattr(lists, name) for name in lists.__slots__}
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        np.savez(checkpoint.parent / "lists.npz", **{name: part for name, part in parts.items() if part is not None})
    order = np.random.default_rng(seed).permutation(len(lists))
    n_parity = min(settings.lists.parity, len(lists) // 5)
    learning, kept_back = lists.take(order[n_parity:]), lists.take(order[:n_parity])
    learning = with_impressions(learning, impressions, settings.lists.impression_weight)
    config = settings.ranker
    if config.prior_column is None:
        prior = best_prior(learning, seed=seed)
        config = msgspec.structs.replace(config, prior_column=prior.column, prior_weight=prior.weight)
    worth = (
        worth_learning(learning, config, seed=seed, progress=progress) if len(learning) < settings.lists.few else None
    )
    if worth is not None and not worth.real:
        config = msgspec.structs.replace(config, epochs=0)
        settings = msgspec.structs.replace(
            settings, compress=msgspec.structs.replace(settings.compress, fine_tune_epochs=0)
        )
    model = train_ranker(learning, config, seed=seed, checkpoint=checkpoint, progress=progress)
    return replace(compress_ranker(model, learning, kept_back, settings, seed, progress), worth=worth)


def compress_ranker(
    model: RankerDnn,
    learning: RankerLists,
    kept_back: RankerLists,
    settings: TrainSettings,
    seed: int,
    progress: Progress,
) -> CompressedRanker:
    """Tries widths and precisions on `kept_back`, takes the fastest that are good enough, and compares those again.

    Raises `ParityError` when a graph that would be served does not rank like the ranker it was made of.
    """
    tried = _affordable(settings.compress, len(kept_back))
    some = learning.take(np.random.default_rng([seed, 4]).permutation(len(learning))[: tried.fine_tune_lists])
    models = pruned_models(
        model, tried.widths, some, epochs=tried.fine_tune_epochs, seed=seed,
        progress=lambda remark: progress(0, 1, remark),
    )  # fmt: skip
    widths = quantize_widths(models, learning)
    rows = sweep(
        widths, tried.precisions, tried.candidates, kept_back, lambda done, total: progress(done, total, "graphs tried")
    )
    choices = choose(
        rows, within=tried.within, shallow_within=tried.shallow_within,
        min_rank_agreement=settings.parity.min_rank_agreement,
    )  # fmt: skip
    served = served_ranker(widths, choices, kept_back)
    parity = served_parity(served, widths, kept_back)
    check_parity(parity, settings.parity)
    kept = {share: models[share] for share in (1.0, *sorted({row.width for row in choices.values()} - {1.0}))}
    return CompressedRanker(served, parity, rows, _default_exit(choices, rows, tried.within), kept)


def recompress(
    kept: KeptRanker, learning: RankerLists, kept_back: RankerLists, settings: TrainSettings
) -> CompressedRanker:
    """The graphs of models that were trained further, in the widths and precisions chosen before.

    Calibrated on `learning`, compared on `kept_back`. Raises `ParityError` as `compress_ranker`.
    """
    widths = quantize_widths(dict(kept.models), learning)
    served = served_ranker(widths, kept.choices, kept_back)
    parity = served_parity(served, widths, kept_back)
    check_parity(parity, settings.parity)
    return CompressedRanker(served, parity, list(kept.choices.values()), kept.default_exit, kept.models)


def _affordable(settings: CompressSettings, n_lists: int) -> CompressSettings:
    """The settings, or those that try nothing but the whole ranker in int8."""
    if settings.sweep and n_lists >= settings.fewest_lists:
        return settings
    return msgspec.structs.replace(settings, widths=(1.0,), precisions=("int8",), candidates=settings.candidates[:1])


def _default_exit(choices: dict[int, SweepRow], rows: list[SweepRow], within: float) -> str:
    """The shallowest exit whose NDCG@10 is near enough to the best of all that was tried, else the best one."""
    best = max(row.ndcg for row in rows)
    good = [depth for depth, row in sorted(choices.items()) if near_enough(row, best, within)]
    return exit_name(good[0] if good else max(choices, key=lambda depth: choices[depth].ndcg))
