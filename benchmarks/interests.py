"""Several vectors per heavy user against one: recall of the two-tower model alone, exact, leave-one-out.

Trains the two towers of a home as `upnext train --split leave-one-out --hold-out` would, and asks for the newest event
of every user with at least --fewest events. With K interests the history is taken apart by Ward's clustering of its
items' vectors, each part is a history for the user tower, and an item counts by its best part (PinnerSage). `whole and
K` adds the vector of the whole history.

    upnext import ml-100k.zip --home home && python benchmarks/interests.py home
"""

from pathlib import Path

import click
import numpy as np

from upnext.cli.home import opened_home
from upnext.cli.pipeline.encoders import histories_of
from upnext.cli.pipeline.world import load_world
from upnext.models.content import ContentConfig, fit_content
from upnext.models.tower_inputs import tower_inputs
from upnext.models.two_tower import TwoTower, TwoTowerConfig
from upnext.training.baselines import Scored
from upnext.training.evaluate import evaluate
from upnext.training.interests import apart, best_of_parts
from upnext.training.splits import Cases, cases_at, leave_one_out
from upnext.training.two_tower_loop import train_two_tower


def interests(model: TwoTower, items: np.ndarray, n_interests: int, fewest: int, *, whole: bool) -> Scored:
    """The model asked with so many vectors per heavy user, and the one of the whole history where `whole`."""

    def score(cases: Cases) -> np.ndarray:
        parts, owners = apart(cases.histories, items, n_interests, fewest=fewest)
        best = best_of_parts(model.user_vectors(parts, cases.users[owners]) @ items.T, owners)
        if whole:
            best = np.maximum(best, model.user_vectors(cases.histories, cases.users) @ items.T)
        return best

    name = "whole" if n_interests == 1 else f"whole and {n_interests}" if whole else f"{n_interests} interests"
    return Scored(name, score)


@click.command()
@click.argument("home", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--fewest", type=int, default=50, show_default=True, help="Interactions of a heavy user.")
@click.option("--epochs", type=int, default=TwoTowerConfig().epochs, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(home: Path, fewest: int, epochs: int, seed: int) -> None:
    """Compare on HOME."""
    with opened_home(home) as opened:
        world = load_world(opened.event_log, opened.records)
    split, content = leave_one_out(world.columns), fit_content(world.items, ContentConfig())
    inputs = tower_inputs(world.items, world.users, content.vectors if content else None)
    model = train_two_tower(
        histories_of(world, split.train), inputs, TwoTowerConfig(epochs=epochs), seed=seed,
        progress=lambda done, total, line: click.echo(f"epoch {done}/{total}: {line}", err=True),
    )  # fmt: skip
    items = model.item_vectors()
    cases = cases_at(world.columns, split.case_events)
    heavy = cases.take(cases.histories.lengths >= fewest)
    systems = [interests(model, items, n, fewest, whole=whole) for n in (1, 2, 3, 5) for whole in (False, True)][1:]
    figures = evaluate(systems, heavy, world.catalog.n_items, cutoffs=(10,), recall_cutoffs=(50, 100, 200, 500))
    columns = ("ndcg@10", "recall@50", "recall@100", "recall@200", "recall@500")
    click.echo(
        f"{len(heavy):,} users with at least {fewest} interactions, {world.catalog.n_items:,} items, seed {seed}\n"
    )
    click.echo(f"| vectors | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for name, of in figures.items():
        click.echo(f"| {name} | {' | '.join(f'{of[column]:.4f}' for column in columns)} |")


if __name__ == "__main__":
    main()
