"""What pruning, int8 and shallow exits save of the ranker, and what they cost, beside its float32 unpruned self.

Trains the default ranker, lets the sweep of `upnext train` choose on lists kept back, and judges its choice on others
that neither training nor choosing has seen. All graphs are timed in turns, with the same session options, on one
thread; the item side is folded for both, float32 too. A row more tells what float32 takes where it is not.

Lists come from a home: `upnext train --home HOME --set compress.keep_lists=true` writes them; a home trained before
does so without training its encoders again. Without a home they are made up, as in int8_vs_fp32.py.

    python benchmarks/ranker_compression.py --home shop --markdown compression.md --png compression.png
"""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from rich.console import Console

from int8_vs_fp32 import made_up_lists
from upnext.bench.machine import Machine, this_machine
from upnext.cli.pipeline.compression import CompressedRanker, compress_ranker
from upnext.cli.pipeline.plan import TrainSettings
from upnext.compress.export import float_graph
from upnext.compress.fold import RankerWeights, ranker_weights
from upnext.compress.pareto import pareto_png
from upnext.compress.parity import gains_of
from upnext.compress.ranker import float_items, score_lists_with, table_items
from upnext.compress.sweep import CompressSettings
from upnext.compress.timing import time_in_turns
from upnext.errors import TrainingError
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_lists import RankerLists
from upnext.release.onnx_session import open_session
from upnext.training.ranker_loop import train_ranker

LEAST_SPEED_UP, MOST_LOSS = 4.0, 0.005
LEAST_SHALLOW_SPEED_UP, MOST_SHALLOW_LOSS = 2.0, 0.03


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A graph beside the float32 unpruned full exit; `loss` is of NDCG@10, relative, with its standard error."""

    name: str
    p50_us: float
    p99_us: float
    speed_up: float
    ndcg: float
    loss: float
    loss_error: float
    graph_bytes: int
    item_bytes: int


def lists_of(home: Path) -> RankerLists:
    """The newest lists that a training kept in `home`."""
    files = sorted(home.glob("training/*/lists.npz"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise TrainingError(f"{home} holds no lists; run `upnext train --home {home} --set compress.keep_lists=true`")
    with np.load(files[-1]) as parts:
        return RankerLists(**parts)


def unfolded(weights: RankerWeights, depth: int) -> bytes:
    """The float32 graph that multiplies raw item inputs in every request."""
    model = onnx.load_from_string(float_graph(weights, depth))
    for node in model.graph.node:
        node.input[:] = ["item_part" if name == "item_hidden" else name for name in node.input]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = len(weights.item.weight)
    matrices = {"item_w": weights.item.folded, "item_b": weights.item.offset}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in matrices.items())
    model.graph.node.insert(0, helper.make_node("Gemm", ["item_hidden", *matrices], ["item_part"]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def rows_of(weights: RankerWeights, compressed: CompressedRanker, unseen: RankerLists) -> list[Row]:
    """The reference, the same unfolded, and every served exit from the deepest to the shallowest."""
    full = max(weights.exits)
    exact = float_items(weights, unseen)
    named = [(f"float32, unpruned, exit {full}", float_graph(weights, full), exact, 4 * len(weights.bias))]
    raw = (f"the same, item side not folded, exit {full}", unfolded(weights, full), unseen.item_inputs.__getitem__)
    named.append((*raw, 4 * unseen.item_inputs.shape[1]))
    served = compressed.served
    for depth, row in sorted(served.choices.items(), reverse=True):
        name = f"served: {row.precision}, {row.width:g} of the neurons, exit {depth}"
        named.append((name, served.graphs[depth], table_items(served.items.table), served.items.table.shape[1]))
    sessions = [open_session(graph) for _, graph, _, _ in named]
    times_us = time_in_turns(sessions)
    gains = [
        gains_of(score_lists_with(s, items, unseen), unseen)
        for s, (_, _, items, _) in zip(sessions, named, strict=True)
    ]
    p50_us = np.median(times_us, axis=1)
    return [
        Row(
            name=name, p50_us=float(p50_us[at]), p99_us=float(np.percentile(times_us[at], 99)),
            speed_up=float(p50_us[0] / p50_us[at]), ndcg=float(gains[at].mean()), **_loss(gains[at], gains[0]),
            graph_bytes=len(graph), item_bytes=item_bytes,
        )
        for at, (name, graph, _, item_bytes) in enumerate(named)
    ]  # fmt: skip


def _loss(gains: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    mean = float(reference.mean())
    error = float((reference - gains).std() / len(gains) ** 0.5)
    return {"loss": 1 - float(gains.mean()) / mean, "loss_error": error / mean}


def verdict(rows: Sequence[Row]) -> list[str]:
    """The two figures that were promised, and whether they are reached."""
    full, shallow = rows[2], rows[-1]
    faster, loss = full.p50_us / shallow.p50_us, 1 - shallow.ndcg / full.ndcg
    reached = full.speed_up >= LEAST_SPEED_UP and full.loss <= MOST_LOSS
    shallow_reached = faster >= LEAST_SHALLOW_SPEED_UP and loss <= MOST_SHALLOW_LOSS
    return [
        f"Full exit as served: {full.speed_up:.1f} × as fast as its float32 unpruned self (≥ {LEAST_SPEED_UP:g}) "
        f"at a loss of {full.loss:.2%} ± {full.loss_error:.2%} of NDCG@10 (≤ {MOST_LOSS:.1%}): "
        f"{'yes' if reached else 'NO'}.",
        f"Shallowest exit: {faster:.1f} × as fast as the full exit as served (≥ {LEAST_SHALLOW_SPEED_UP:g}) "
        f"at a loss of {loss:.2%} (≤ {MOST_SHALLOW_LOSS:.0%}): {'yes' if shallow_reached else 'NO'}.",
    ]


def markdown(rows: Sequence[Row], machine: Machine, command: str, data: str, n_unseen: int, n_candidates: int) -> str:
    lines = [
        "# Ranker compression", "", f"`{command}`", "",
        f"{machine.cpu}, load {machine.load}, onnxruntime {machine.versions['onnxruntime']}, commit {machine.commit}; "
        f"{data}, {n_unseen:,} lists that neither training nor choosing has seen; {n_candidates} candidates, "
        "one thread.",
        "",
        "| graph | p50 µs | p99 µs | speed-up | NDCG@10 | loss | graph bytes | bytes per item |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    lines += [
        f"| {row.name} | {row.p50_us:.0f} | {row.p99_us:.0f} | {row.speed_up:.2f} × | {row.ndcg:.4f} "
        f"| {row.loss:.2%} ± {row.loss_error:.2%} | {row.graph_bytes:,} | {row.item_bytes:,} |"
        for row in rows
    ]
    return "\n".join([*lines, "", *verdict(rows), ""])


@click.command()
@click.option(
    "--home", type=click.Path(exists=True, path_type=Path), help="A home with lists; without it made-up ones."
)
@click.option("--lists", "n_lists", default=12_000, show_default=True, help="Lists taken, at most.")
@click.option("--epochs", default=RankerConfig().epochs, show_default=True, help="Of the unpruned ranker, at most.")
@click.option("--seed", default=1, show_default=True)
@click.option("--markdown", "markdown_file", type=click.Path(path_type=Path))
@click.option("--json", "json_file", type=click.Path(path_type=Path))
@click.option("--png", type=click.Path(path_type=Path), help="The picture of all that was tried.")
def main(
    home: Path | None, n_lists: int, epochs: int, seed: int, markdown_file: Path | None, json_file: Path | None,
    png: Path | None,
) -> None:  # fmt: skip
    console = Console(width=160)
    lists = made_up_lists(min(n_lists, 6_000), seed) if home is None else lists_of(home)
    order = np.random.default_rng(seed).permutation(len(lists))[:n_lists]
    n_apart = min(2_000, len(order) // 5)
    unseen, kept_back = lists.take(order[:n_apart]), lists.take(order[n_apart : 2 * n_apart])
    learning = lists.take(order[2 * n_apart :])
    config = RankerConfig(prior_column=0, epochs=epochs)
    model = train_ranker(learning, config, seed=seed, progress=lambda _, __, line: console.print(line, style="dim"))
    torch.set_num_threads(1)
    settings = TrainSettings(ranker=config, compress=CompressSettings(fewest_lists=1))
    compressed = compress_ranker(
        model, learning, kept_back, settings, seed, lambda _, __, line: console.print(line, style="dim")
    )
    rows = rows_of(ranker_weights(model), compressed, unseen)
    machine, data = this_machine(), "made-up lists" if home is None else f"lists of {home.name}"
    command = f"python benchmarks/ranker_compression.py{f' --home {home.name}' if home else ''}"
    text = markdown(rows, machine, command, data, len(unseen), unseen.n_candidates)
    console.print(text, markup=False)
    if markdown_file is not None:
        markdown_file.write_text(text)
    if png is not None:
        png.write_bytes(pareto_png(compressed.rows, list(compressed.served.choices.values()), f"ranker of {data}"))
    if json_file is not None:
        figures = {"machine": machine, "seed": seed, "rows": rows, "sweep": compressed.rows, "verdict": verdict(rows)}
        json_file.write_text(json.dumps(msgspec.to_builtins(figures), indent=2) + "\n")


if __name__ == "__main__":
    main()
