"""Asks systems the same questions and measures their answers over the full catalogue; knows no system from within."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError
from upnext.training.metrics import Places, coverage, gains, places_in_rows
from upnext.training.splits import Cases
from upnext.training.top_rows import Rows, drop_rows

Progress = Callable[[int, int, str], None]
"""Called as cases are answered: cases done, cases in all (over all systems), the name of the system."""

Figures = dict[str, float]
"""`ndcg@10`, `hr@10`, `mrr@10`, `recall@500`, `coverage` (share of the catalogue in some top 10), `n_cases`."""


MOST_BATCH_CASES = 256
MOST_BATCH_SCORES = 2**24
"""Cases asked at once: few enough for a system to hold a score per case and item (64 MiB)."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Where each system put the right item of each case; all that figures, segments and comparisons are made of.

    `events` (n_cases,) int64: sequence numbers of the events foretold, which name a case in every release; `users`
    (n_cases,): whose they are; `n_before` (n_cases,): interactions of that user before; `targets` (n_cases,) item rows.
    `places` (n_cases,) and `coverage` by system.
    """

    events: npt.NDArray[np.int64]
    users: npt.NDArray[np.int32]
    n_before: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int32]
    figures: tuple[str, ...]
    places: dict[str, Places]
    coverage: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, which: npt.NDArray[np.integer]) -> "Answered":
        """The chosen cases, in the order of `which`; coverage, which is of all cases, is left out."""
        places = {name: places[which] for name, places in self.places.items()}
        return Answered(
            self.events[which], self.users[which], self.n_before[which], self.targets[which], self.figures, places
        )

    def gains(self, system: str) -> npt.NDArray[np.float64]:
        """What each case adds to each of `figures`, (n_cases, n_figures)."""
        return np.stack([gains(figure, self.places[system]) for figure in self.figures], axis=1)

    def table(self) -> dict[str, Figures]:
        """The figures of each system over all cases."""
        return {name: self._figures_of(name) for name in self.places}

    def _figures_of(self, system: str) -> Figures:
        figures = dict(zip(self.figures, self.gains(system).mean(axis=0).tolist(), strict=True))
        if system in self.coverage:
            figures["coverage"] = self.coverage[system]
        return figures | {"n_cases": len(self)}


class System(Protocol):
    """Anything that answers cases: a model, a counter, the whole funnel."""

    name: str

    def rank(self, cases: Cases, k: int) -> Rows:
        """The k best item rows per case, (n_cases, k) int32, best first, -1 where there are fewer.

        With `cases.drop_seen` items of a case's own history are not asked for and removed if they come. Only
        `cases.users`, `cases.histories` and `cases.now_ms` may be looked at, never `cases.targets`.
        """


def ask(
    systems: Sequence[System],
    cases: Cases,
    n_items: int,
    *,
    cutoffs: Sequence[int] = (10,),
    recall_cutoffs: Sequence[int] = (500,),
    batch_cases: int | None = None,
    progress: Progress | None = None,
) -> Answered:
    """Asks every system the same cases over all `n_items` items: no sampled negatives.

    Figures are NDCG, HR and MRR at each of `cutoffs`, recall at each of `recall_cutoffs`, coverage at the first of
    `cutoffs`. Where seen items are dropped, cases whose target was seen before are left out. Raises TrainingError when
    there is no case, or an answer has the wrong shape or a row outside the catalogue.
    """
    asked = cases.new_targets_only() if cases.drop_seen else cases
    if not len(asked):
        raise TrainingError("there is no case to evaluate; choose another split or allow seen items")
    k = max(*cutoffs, *recall_cutoffs)
    size = batch_cases or max(1, min(MOST_BATCH_CASES, MOST_BATCH_SCORES // max(1, n_items)))
    places: dict[str, Places] = {}
    covered: dict[str, float] = {}
    for number, system in enumerate(systems):
        answers = []
        for begin in range(0, len(asked), size):
            batch = asked.take(slice(begin, begin + size))
            rows = _checked(system.rank(_hidden(batch), k), system.name, (len(batch), k), n_items)
            answers.append(drop_rows(rows, batch.histories, n_items) if batch.drop_seen else rows)
            if progress is not None:
                progress(number * len(asked) + begin + len(batch), len(systems) * len(asked), system.name)
        rows = np.concatenate(answers)
        places[system.name] = places_in_rows(rows, asked.targets)
        covered[system.name] = coverage(rows[:, : cutoffs[0]], n_items)
    figures = [f"{name}@{k}" for k in cutoffs for name in ("ndcg", "hr", "mrr")]
    figures += [f"recall@{k}" for k in recall_cutoffs]
    lengths = asked.histories.lengths
    return Answered(asked.numbers(), asked.users, lengths, asked.targets, tuple(figures), places, covered)


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
    """The figures of `ask`, by system."""
    return ask(
        systems, cases, n_items, cutoffs=cutoffs, recall_cutoffs=recall_cutoffs, batch_cases=batch_cases,
        progress=progress,
    ).table()  # fmt: skip


def _hidden(cases: Cases) -> Cases:
    """The cases with their targets blanked, so that no system can look them up by mistake."""
    return replace(cases, targets=np.full(len(cases), -1, np.int32), events=None)


def _checked(rows: Rows, name: str, shape: tuple[int, int], n_items: int) -> Rows:
    if rows.shape != shape:
        raise TrainingError(f"system {name} answered with shape {rows.shape} where {shape} was asked; pad with -1")
    if rows.size and (rows.max() >= n_items or rows.min() < -1):
        raise TrainingError(f"system {name} answered a row outside the {n_items} items of the catalogue")
    return rows
