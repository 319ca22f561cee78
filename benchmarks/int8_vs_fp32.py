"""What int8 saves and what it costs: every exit of the default ranker in both precisions, side by side.

Trains on made-up lists of 500 candidates (what is taken depends on a retrieval score, on a bend in another column and
on an interaction of user and item, which only the deep part can learn), exports, and measures both graphs of each exit
in turns, on one thread, on lists it was not trained on.

    python benchmarks/int8_vs_fp32.py --seed 1 --json figures.json
"""

import json
from pathlib import Path

import click
import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from upnext.bench.machine import this_machine
from upnext.compress.parity import GraphParity, parity_report
from upnext.compress.ranker import export_ranker
from upnext.models.ranker_config import RankerConfig
from upnext.models.ranker_lists import RankerLists
from upnext.training.ranker_loop import train_ranker

N_ITEMS, N_CANDIDATES = 20_000, 500
ITEM_INPUTS, USER_INPUTS, CROSS_INPUTS = 72, 80, 20


def made_up_lists(n_lists: int, seed: int) -> RankerLists:
    """Targets drawn by softmax of 1.5 column 0 - 1.5 |column 1| ± 2 item input 0; the sign is that of user input 0."""
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((N_ITEMS, ITEM_INPUTS), np.float32)
    user = rng.standard_normal((n_lists, USER_INPUTS), np.float32)
    rows = rng.integers(0, N_ITEMS, (n_lists, N_CANDIDATES)).astype(np.int32)
    cross = rng.standard_normal((n_lists, N_CANDIDATES, CROSS_INPUTS), np.float32)
    taste = 2 * np.sign(user[:, :1]) * items[:, 0][rows]
    truth = 1.5 * cross[:, :, 0] - 1.5 * np.abs(cross[:, :, 1]) + taste + rng.gumbel(size=rows.shape)
    return RankerLists(items, user, rows, cross.astype(np.float16), truth.argmax(axis=1).astype(np.int32))


def table_of(report: list[GraphParity]) -> Table:
    headings = "exit|bytes fp32|int8|ratio|p50 µs fp32|int8|speed-up|rank agreement|NDCG@10 fp32|int8|loss"
    table = Table(*headings.split("|"), title=f"{N_CANDIDATES} candidates, one thread")
    exact = {graph.exit_depth: graph for graph in report if graph.precision == "float32"}
    for small in (graph for graph in report if graph.precision == "int8"):
        large = exact[small.exit_depth]
        sizes = (f"{large.graph_bytes:,}", f"{small.graph_bytes:,}", f"{small.graph_bytes / large.graph_bytes:.2f}")
        times = (f"{large.p50_us:.0f}", f"{small.p50_us:.0f}", f"{large.p50_us / small.p50_us:.2f}×")
        quality = (
            f"{large.ndcg_graph:.4f}",
            f"{small.ndcg_graph:.4f}",
            f"{1 - small.ndcg_graph / large.ndcg_graph:.2%}",
        )
        table.add_row(str(small.exit_depth), *sizes, *times, f"{small.rank_agreement:.5f}", *quality)
    return table


@click.command()
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--lists", "n_lists", default=3_000, show_default=True, help="Lists to train on; a third more to judge by."
)
@click.option("--epochs", default=4, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here.")
def main(seed: int, n_lists: int, epochs: int, json_file: Path | None) -> None:
    console = Console(width=150)
    lists = made_up_lists(n_lists + n_lists // 3, seed)
    learning, unseen = lists.take(np.arange(n_lists)), lists.take(np.arange(n_lists, len(lists)))
    config = RankerConfig(prior_column=0, epochs=epochs, patience=epochs)
    model = train_ranker(learning, config, seed=seed, progress=lambda _, __, line: console.print(line, style="dim"))
    torch.set_num_threads(1)
    report = parity_report(model, export_ranker(model, learning), unseen)
    machine = this_machine()
    console.print(
        f"{machine.cpu}, load {machine.load}, onnxruntime {machine.versions['onnxruntime']}, {machine.commit}"
    )
    console.print(table_of(report))
    if json_file is not None:
        figures = {
            "machine": msgspec.to_builtins(machine),
            "seed": seed,
            "n_lists": n_lists,
            "graphs": msgspec.to_builtins(report),
        }
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
