"""Recall@20 and NDCG@20 on implicit feedback without times, against a factorisation tuned for each set.

Every rating of a MovieLens set is a choice. Of each user a random fifth, drawn by --seed, is the test part. Both parts
are written as lines of `user item item …`, the training part in random order, and go through the commands that anybody
would use, with default settings: `upnext import`, `upnext train`, `upnext evaluate --test`. All items are ranked but
those of the user's training part; figures are averages over users.

The rival is iALS of the library `implicit`. Its settings are drawn at random --trials times, judged by the sum of both
figures on a tenth of each user's training part, and the best of them learns from the whole training part.

    python benchmarks/implicit_feedback.py ../shared/data/ml-100k.zip --markdown ml-100k.md
"""

import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from threadpoolctl import threadpool_limits

from upnext.models.linear import LinearConfig
from upnext.training.all_ranking import CUTOFF, random_split, recall_and_ndcg
from upnext.training.linear_models import fit_ials, fit_linear, user_items_of
from upnext.training.sequences import Sequences
from upnext.training.top_rows import top_rows

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
MEMBERS = {"ml-100k.inter": "\t", "ml-1m/interactions.csv": ","}
Pairs = tuple[np.ndarray, np.ndarray]
"""Rows of users and of items, (n,) each."""


def read_pairs(path: Path) -> Pairs:
    """Everybody's choices, as rows."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(tuple(MEMBERS)))
        delimiter = MEMBERS[next(ending for ending in MEMBERS if name.endswith(ending))]
        with archive.open(name) as file:
            table = np.loadtxt(io.TextIOWrapper(file), delimiter=delimiter, skiprows=1, usecols=(0, 1), dtype=np.int64)
    return np.unique(table[:, 0], return_inverse=True)[1], np.unique(table[:, 1], return_inverse=True)[1]


def write_lines(pairs: Pairs, path: Path, rng: np.random.Generator) -> None:
    """One line per user, their items in random order."""
    order = rng.permutation(len(pairs[0]))
    order = order[np.argsort(pairs[0][order], kind="stable")]
    users, items = pairs[0][order], pairs[1][order]
    borders = np.flatnonzero(np.diff(users)) + 1
    lines = zip(np.split(users, borders), np.split(items, borders), strict=True)
    path.write_text("".join(f"{own[0]} {' '.join(map(str, chosen))}\n" for own, chosen in lines))


def figures_of_ials(train: Pairs, wanted: Pairs, shape: tuple[int, int], settings: dict[str, Any]) -> list[float]:
    """Recall@20 and NDCG@20 of iALS."""
    known = user_items_of(*train, shape)
    with threadpool_limits(1, "blas"):
        users, items = fit_ials(known, **settings, seed=0)
    return figures_of(users @ items.T, known, wanted)


def figures_of(scores: np.ndarray, known: Any, wanted: Pairs) -> list[float]:
    """Recall@20 and NDCG@20 of scores (n_users, n_items), which are changed."""
    scores[known.nonzero()] = -np.inf
    asked = np.flatnonzero(np.bincount(wanted[0], minlength=len(scores)))
    right = Sequences.from_events(*wanted, len(scores)).take(asked)
    return [float(figure) for figure in recall_and_ndcg(top_rows(scores[asked], CUTOFF), right).mean(axis=0)]


def tune_ials(train: Pairs, shape: tuple[int, int], trials: int, rng: np.random.Generator) -> dict[str, Any]:
    """The settings that are best on a part of `train` kept back."""
    kept_back = random_split(train[0], VALIDATION_SHARE, rng)
    learn, judge = (train[0][~kept_back], train[1][~kept_back]), (train[0][kept_back], train[1][kept_back])
    best, best_sum = {}, -1.0
    for trial in range(trials):
        settings = {
            "factors": int(rng.choice([16, 32, 64, 128])),
            "regularization": float(10 ** rng.uniform(-2, 2)),
            "alpha": float(10 ** rng.uniform(0, 1.3)),
            "iterations": int(rng.choice([8, 15])),
        }
        started = time.perf_counter()
        recall, ndcg = figures_of_ials(learn, judge, shape, settings)
        if recall + ndcg > best_sum:
            best, best_sum = settings, recall + ndcg
        seconds = time.perf_counter() - started
        click.echo(
            f"iALS {trial + 1}/{trials}: {settings} recall {recall:.4f}, ndcg {ndcg:.4f}, {seconds:.0f} s", err=True
        )
    return best


def figures_of_upnext(folder: Path, changes: tuple[str, ...]) -> tuple[dict[str, dict[str, float]], float]:
    """Figures by system after import, training and evaluation by command, and the seconds of training."""
    home, report = folder / "home", folder / "report.json"
    upnext = [sys.executable, "-m", "upnext"]
    subprocess.run([*upnext, "import", folder / "train.txt", "--home", home], check=True)
    started = time.perf_counter()
    sets = [part for change in changes for part in ("--set", change)]
    subprocess.run([*upnext, "train", "--home", home, *sets], check=True)
    seconds = time.perf_counter() - started
    subprocess.run([*upnext, "evaluate", "--home", home, "--test", folder / "test.txt", "--json", report], check=True)
    return json.loads(report.read_bytes())["systems"], seconds


def figures_of_lists(train: Pairs, wanted: Pairs, shape: tuple[int, int]) -> tuple[dict[str, dict[str, float]], float]:
    """The figures of `neighbours` alone, as `upnext train` would fit them by default, and the seconds that took."""
    known, started = user_items_of(*train, shape), time.perf_counter()
    lists = fit_linear(known, LinearConfig())
    assert lists is not None
    seconds = time.perf_counter() - started
    recall, ndcg = figures_of(lists.scores(known), known, wanted)
    return {"neighbours": {"recall@20": recall, "ndcg@20": ndcg}}, seconds


def markdown(name: str, figures: dict[str, dict[str, float]], note: str) -> str:
    lines = [f"## {name}", "", note, "", "| system | Recall@20 | NDCG@20 |", "|---|---:|---:|"]
    lines += [f"| {system} | {of['recall@20']:.4f} | {of['ndcg@20']:.4f} |" for system, of in figures.items()]
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seed", type=int, default=1, show_default=True, help="Of the split, and of what is tried for iALS.")
@click.option("--trials", type=int, default=30, show_default=True, help="Settings of iALS tried.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="For the home.  [default: a new one]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Passed on to `upnext train`.")
@click.option(
    "--lists-only", is_flag=True, help="Only fit the neighbour lists of a release: minutes instead of an hour."
)
@click.option("--markdown", "page", type=click.Path(path_type=Path), help="Also write the table to this file.")
def main(
    data: Path,
    seed: int,
    trials: int,
    folder: Path | None,
    changes: tuple[str, ...],
    lists_only: bool,
    page: Path | None,
) -> None:
    """Compare on DATA (ml-100k.zip or ml-1m.zip)."""
    rng = np.random.default_rng(seed)
    users, items = read_pairs(data)
    shape = int(users.max()) + 1, int(items.max()) + 1
    test = random_split(users, TEST_SHARE, rng)
    train, wanted = (users[~test], items[~test]), (users[test], items[test])
    folder = folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True, parents=True)
    for pairs, name in ((train, "train.txt"), (wanted, "test.txt")):
        write_lines(pairs, folder / name, rng)
    best = tune_ials(train, shape, trials, rng)
    recall, ndcg = figures_of_ials(train, wanted, shape, best)
    if lists_only:
        figures, seconds = figures_of_lists(train, wanted, shape)
    else:
        figures, seconds = figures_of_upnext(folder, changes)
    tuned = ", ".join(f"{name} {value:.4g}" for name, value in best.items())
    figures = {f"iALS, tuned ({tuned})": {"recall@20": recall, "ndcg@20": ndcg}, **figures}
    settings = " ".join(["default settings" if not changes else "", *changes]).strip()
    n_test = len(np.unique(wanted[0]))
    note = (
        f"{shape[0]:,} users, {shape[1]:,} items, {len(train[0]):,} choices to learn from, {len(wanted[0]):,} of "
        f"{n_test:,} users to find; split of seed {seed}; {settings}; trained in {seconds:.0f} s; "
        f"iALS best of {trials} settings."
    )
    table = markdown(data.stem, figures, note)
    click.echo(table)
    if page:
        page.write_text(table)


if __name__ == "__main__":
    main()
