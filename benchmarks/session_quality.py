"""Quality and cost of the session model alone on MovieLens 1M: HR@10, NDCG@10, recall@500, training seconds.

Leave-one-out: the newest interaction of every user is the test target, the one before it validates, the rest trains.
At test the model reads everything but the target, with the ratings given so far. All 3,416 movies are ranked,
those already seen dropped, ties counted against the target.

    python benchmarks/session_quality.py ../shared/data/ml-1m.zip --seed 1 --json figures.json
"""

import csv
import io
import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from upnext.models.session import SessionConfig, SessionEncoder
from upnext.training.sequences import Sequences
from upnext.training.session_loop import load_session, train_session


def read_ml_1m(path: Path) -> tuple[Sequences, int]:
    """All histories, items as rows in order of movie id, ratings as values; and the number of items."""
    with zipfile.ZipFile(path) as archive, archive.open("ml-1m/interactions.csv") as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8"))
        next(rows)
        events = np.array([[int(field) for field in row[:4]] for row in rows])  # user, movie, rating, position
    events = events[np.lexsort((events[:, 3], events[:, 0]))]
    users, user_rows = np.unique(events[:, 0], return_inverse=True)
    movies, item_rows = np.unique(events[:, 1], return_inverse=True)
    values = events[:, 2].astype(np.float32)
    return Sequences.from_events(user_rows, item_rows, len(users), values=values), len(movies)


def ranks_of_next(encoder: SessionEncoder, known: Sequences, targets: np.ndarray) -> np.ndarray:
    """Rank of each user's target among the items the user has not seen, 0 the best, (n_users,) int64."""
    vectors, _ = encoder.encode(known)
    vectors = np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])
    items = encoder.item_vectors()
    ranks = np.empty(len(targets), np.int64)
    for begin in range(0, len(targets), 512):
        users = np.arange(begin, min(begin + 512, len(targets)))
        scores = vectors[users] @ items.T
        of_target = scores[np.arange(len(users)), targets[users]]
        seen_by = np.repeat(np.arange(len(users)), known.lengths[users])
        scores[seen_by, known.items[known.offsets[begin] : known.offsets[users[-1] + 1]]] = -np.inf
        ranks[users] = (scores >= of_target[:, None]).sum(1) - 1
    return ranks


def figures(ranks: np.ndarray) -> dict[str, float]:
    top = ranks < 10
    return {
        "hr@10": float(top.mean()),
        "ndcg@10": float((top / np.log2(ranks + 2)).mean()),
        "recall@500": float((ranks < 500).mean()),
    }


@click.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--kind", type=click.Choice(["gated", "lru", "gru"]), default=SessionConfig().kind, show_default=True)
@click.option("--epochs", type=int, default=SessionConfig().epochs, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--threads", type=int, default=2, show_default=True, help="Threads of torch.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Any other field of SessionConfig.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Kept here after each epoch; taken up if present.")
@click.option("--validate-every", type=int, default=4, show_default=True, help="Epochs; needs --checkpoint.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="Also write the figures to this file.")
def main(
    data: Path,
    kind: str,
    epochs: int,
    seed: int,
    threads: int,
    changes: tuple[str, ...],
    checkpoint: Path | None,
    validate_every: int,
    report: Path | None,
) -> None:
    """Train on DATA (ml-1m.zip) and print the test figures."""
    torch.set_num_threads(threads)
    given: dict[str, Any] = {name: json.loads(value) for name, _, value in (c.partition("=") for c in changes)}
    config = SessionConfig(kind=kind, epochs=epochs, **given)
    everything, n_items = read_ml_1m(data)
    targets = everything.items[everything.offsets[1:] - 1]
    training, validation = everything.without_last(2), everything.items[everything.offsets[1:] - 2]
    started, cpu_started = time.perf_counter(), time.process_time()

    def tell(epoch: int, of: int, message: str) -> None:
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        line = f"epoch {epoch}/{of}: {message}, {seconds:.0f} s, {cpu_seconds:.0f} cpu s"
        if checkpoint is not None and epoch % validate_every == 0:
            line += f", validation {figures(ranks_of_next(load_session(checkpoint), training, validation))}"
        click.echo(line)

    encoder = train_session(training, n_items, config, seed=seed, checkpoint=checkpoint, progress=tell)
    result = {
        **figures(ranks_of_next(encoder, everything.without_last(1), targets)),
        "training_s": round(time.perf_counter() - started, 1),
        "training_cpu_s": round(time.process_time() - cpu_started, 1),
        "seed": seed,
        "threads": threads,
        "cores": os.cpu_count(),
        "config": {name: getattr(config, name) for name in config.__struct_fields__},
    }
    click.echo(json.dumps(result, indent=2))
    if report is not None:
        report.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
