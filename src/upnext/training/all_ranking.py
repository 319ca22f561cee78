"""The published all-ranking protocol for implicit feedback: many right items per user; knows no system from within.

As in NGCF (Wang et al., SIGIR 2019) and LightGCN (He et al., SIGIR 2020): for each user of the test part all items are
ranked but those of the user's training part; figures are averaged over users.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError
from upnext.training.bootstrap import RESAMPLES, mean_intervals
from upnext.training.evaluate import Progress, System
from upnext.training.measured import Measured
from upnext.training.metrics import coverage
from upnext.training.sequences import Sequences
from upnext.training.splits import Cases
from upnext.training.top_rows import Rows, drop_rows

CUTOFF = 20
MOST_BATCH_SCORES = 2**24
"""Scores that a system may have to hold at once (64 MiB)."""


def all_ranking(
    systems: Sequence[System],
    cases: Cases,
    wanted: Sequences,
    n_items: int,
    *,
    k: int = CUTOFF,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> Measured:
    """Recall and NDCG at `k` of each system, averaged over cases, with intervals drawn with `seed`.

    `cases` are one per user, with all of the training part as history; `wanted` has the distinct right items of each, a
    row ≥ `n_items` for one that no system can know. Raises TrainingError when a case has none.
    """
    if not len(cases) or not wanted.lengths.all():
        raise TrainingError("there is no user with an item to find; check that the test part is of this home's users")
    size = max(1, min(256, MOST_BATCH_SCORES // max(1, n_items)))
    gains, covered = [], {}
    for number, system in enumerate(systems):
        answers = []
        for begin in range(0, len(cases), size):
            batch = cases.take(slice(begin, begin + size))
            answers.append(drop_rows(system.rank(batch, k), batch.histories, n_items))
            if progress is not None:
                progress(number * len(cases) + begin + len(batch), len(systems) * len(cases), system.name)
        rows = np.concatenate(answers)
        gains.append(recall_and_ndcg(rows, wanted))
        covered[system.name] = coverage(rows, n_items)
    names, figures = [system.name for system in systems], (f"recall@{k}", f"ndcg@{k}")
    intervals = mean_intervals(np.concatenate(gains, axis=1), cases.users, seed=seed, resamples=resamples) or []
    pairs = [intervals[at : at + 2] for at in range(0, len(intervals), 2)]
    return Measured(
        systems={
            name: dict(zip(figures, gain.mean(axis=0).tolist(), strict=True))
            | {"coverage": covered[name], "n_cases": len(cases)}
            for name, gain in zip(names, gains, strict=True)
        },
        intervals={name: dict(zip(figures, pair, strict=True)) for name, pair in zip(names, pairs, strict=False)},
    )


def recall_and_ndcg(rows: Rows, wanted: Sequences) -> npt.NDArray[np.float64]:
    """Recall and NDCG of each case, (n_cases, 2), of `rows` (n_cases, k) ranked, best first, -1 padding.

    Recall is hits / right items, also where there are more of these than k. NDCG is Σ 1 / log2(place + 2) over the
    hits, divided by its best possible value, with min(k, right items) hits at the top.
    """
    case = np.repeat(np.arange(len(rows)), wanted.lengths)
    width = 1 + max(int(rows.max(initial=0)), int(wanted.items.max(initial=0)))
    hits = np.isin(np.arange(len(rows))[:, None] * width + rows, case * width + wanted.items) & (rows >= 0)
    discounts = 1.0 / np.log2(np.arange(rows.shape[1]) + 2.0)
    best = np.cumsum(discounts)[np.minimum(wanted.lengths, rows.shape[1]) - 1]
    return np.stack([hits.sum(axis=1) / wanted.lengths, (hits @ discounts) / best], axis=1)


def random_split(users: npt.NDArray[np.integer], share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which of the pairs, (n,) bool, are for testing: of each user of `users` (n,) the same share, rounded down."""
    order = np.lexsort((rng.random(len(users)), users))
    counts = np.bincount(users)
    place = np.empty(len(users), np.int64)
    place[order] = np.arange(len(users)) - (np.cumsum(counts) - counts)[users[order]]
    chosen: npt.NDArray[np.bool_] = place < np.floor(counts[users] * share)
    return chosen
