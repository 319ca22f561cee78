"""Asks systems the same questions and measures their answers over the full catalogue; knows no system from within."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from upnext.errors import TrainingError
from upnext.training.metrics import coverage, hit_rate, mrr, ndcg, places_in_rows
from upnext.training.splits import Cases
from upnext.training.top_rows import Rows, drop_rows

Progress = Callable[[int, int, str], None]
"""Called as cases are answered: cases done, cases in all (over all systems), the name of the system."""

Figures = dict[str, float]
"""`ndcg@10`, `hr@10`, `mrr@10`, `recall@500`, `coverage` (share of the catalogue in some top 10), `n_cases`."""


MOST_BATCH_CASES = 256
MOST_BATCH_SCORES = 2**24
"""Cases asked at once: few enough for a system to hold a score per case and item (64 MiB)."""


class System(Protocol):
    """Anything that answers cases: a model, a counter, the whole funnel."""

    name: str

    def rank(self, cases: Cases, k: int) -> Rows:
        """The k best item rows per case, (n_cases, k) int32, best first, -1 where there are fewer.

        With `cases.drop_seen` items of a case's own history are not asked for and removed if they come. Only
        `cases.users`, `cases.histories` and `cases.now_ms` may be looked at, never `cases.targets`.
        """


def evaluate(
    systems: Sequence[System],
    cases: Cases,
    n_items: int,
    *,
    cutoffs: Sequence[int] = (10,),
    recall_cutoffs: Sequence[int] = (500,),
    batch_cases: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Figures]:
    """Figures of each system by name, all over the same cases and all `n_items` items: no sampled negatives.

    NDCG, HR and MRR at each of `cutoffs`, recall at each of `recall_cutoffs`, coverage at the first of `cutoffs`. Where
    seen items are dropped, cases whose target was seen before are left out; `n_cases` counts the ones asked. Raises
    TrainingError when there is no case, or an answer has the wrong shape or a row outside the catalogue.
    """
    asked = cases.new_targets_only() if cases.drop_seen else cases
    if not len(asked):
        raise TrainingError("there is no case to evaluate; choose another split or allow seen items")
    k = max(*cutoffs, *recall_cutoffs)
    size = batch_cases or max(1, min(MOST_BATCH_CASES, MOST_BATCH_SCORES // max(1, n_items)))
    results: dict[str, Figures] = {}
    for number, system in enumerate(systems):
        answers = []
        for begin in range(0, len(asked), size):
            batch = asked.take(slice(begin, begin + size))
            rows = _checked(system.rank(_hidden(batch), k), system.name, (len(batch), k), n_items)
            answers.append(drop_rows(rows, batch.histories, n_items) if batch.drop_seen else rows)
            if progress is not None:
                progress(number * len(asked) + begin + len(batch), len(systems) * len(asked), system.name)
        results[system.name] = _figures(np.concatenate(answers), asked, n_items, cutoffs, recall_cutoffs)
    return results


def _hidden(cases: Cases) -> Cases:
    """The cases with their targets blanked, so that no system can look them up by mistake."""
    return Cases(cases.users, cases.histories, cases.now_ms, np.full(len(cases), -1, np.int32), cases.drop_seen)


def _checked(rows: Rows, name: str, shape: tuple[int, int], n_items: int) -> Rows:
    if rows.shape != shape:
        raise TrainingError(f"system {name} answered with shape {rows.shape} where {shape} was asked; pad with -1")
    if rows.size and (rows.max() >= n_items or rows.min() < -1):
        raise TrainingError(f"system {name} answered a row outside the {n_items} items of the catalogue")
    return rows


def _figures(rows: Rows, cases: Cases, n_items: int, cutoffs: Sequence[int], recall_cutoffs: Sequence[int]) -> Figures:
    places = places_in_rows(rows, cases.targets)
    figures: Figures = {}
    for k in cutoffs:
        figures |= {f"ndcg@{k}": ndcg(places, k), f"hr@{k}": hit_rate(places, k), f"mrr@{k}": mrr(places, k)}
    figures |= {f"recall@{k}": hit_rate(places, k) for k in recall_cutoffs}
    return figures | {"coverage": coverage(rows[:, : cutoffs[0]], n_items), "n_cases": len(cases)}
