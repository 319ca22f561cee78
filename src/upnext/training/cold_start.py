"""How good answers are when a user's first 0, 1, 2 … interactions are known; knows no system from within."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from upnext.errors import TrainingError
from upnext.ingest.columns import EventColumns
from upnext.training.bootstrap import FEWEST_CLUSTERS, Interval, mean_intervals
from upnext.training.compare import Difference, compare
from upnext.training.evaluate import Answered, Figures
from upnext.training.measured import Intervals
from upnext.training.splits import Indices, Mask, cases_at, interactions

MOST_KNOWN = 10
SWITCHES = (0, 3, 5)
"""After how many interactions the content source may be swapped out, as compared; 0: it never runs."""
FIGURES = ("ndcg@10", "hr@10", "recall@20")
WITH, WITHOUT = "with content", "without content"


@dataclass(frozen=True)
class Start:
    """Users of whom `n_known` interactions are known, and what they chose next.

    `shown` (n_events,) bool: the known ones of all of them; `events` (n_cases,) int64: indices of the events to be
    foretold, one per user.
    """

    n_known: int
    shown: Mask
    events: Indices


def newcomers(columns: EventColumns, cut_ms: int, most_users: int | None = None) -> list[Start]:
    """The first interactions of users who came at or after `cut_ms`: nothing of theirs was trained on.

    Only users with more than MOST_KNOWN interactions, so that all starts are of the same ones; of more than
    `most_users` the first to come. Raises TrainingError when there are fewer than FEWEST_CLUSTERS.
    """
    chosen = interactions(columns)
    old = np.zeros(len(columns.users), dtype=bool)
    old[columns.user[chosen & (columns.timestamp_ms < cut_ms)]] = True
    order, place, total = _in_order(columns, chosen & ~old[columns.user])
    firsts = np.sort(order[(place == 0) & (total > MOST_KNOWN)])[:most_users]
    if len(firsts) < FEWEST_CLUSTERS:
        raise TrainingError(
            f"{len(firsts)} users came after the cut and had more than {MOST_KNOWN} interactions, which says nothing; "
            "use a release trained with "
            "--split leave-one-out --hold-out, whose users are then taken as if they had only just come"
        )
    asked = np.isin(columns.user[order], columns.user[firsts])
    order, place = order[asked], place[asked]
    return [_start(columns, n, order[place < n], order[place == n]) for n in range(MOST_KNOWN + 1)]


def as_if_new(columns: EventColumns, case_events: Indices, most_users: int | None = None) -> list[Start]:
    """The same held-out event of each user, foretold from the newest 0, 1, 2 … interactions before it.

    `case_events`: one per user. Only users with at least MOST_KNOWN interactions before and a target not among them.
    Raises TrainingError when there are fewer than FEWEST_CLUSTERS.
    """
    cases = cases_at(columns, case_events)
    new = np.isin(cases.numbers(), cases.new_targets_only().numbers())
    case_events = case_events[new & (cases.histories.lengths >= MOST_KNOWN)][:most_users]
    if len(case_events) < FEWEST_CLUSTERS:
        raise TrainingError(
            f"{len(case_events)} users of the split have {MOST_KNOWN} interactions before the case, which says "
            "nothing; use more data"
        )
    last = np.full(len(columns.users), -1, dtype=np.int64)
    last[columns.user[case_events]] = case_events
    known = interactions(columns) & (np.arange(len(columns)) < last[columns.user])
    order, place, total = _in_order(columns, known)
    return [_start(columns, n, order[total - place <= n], case_events) for n in range(MOST_KNOWN + 1)]


def _in_order(columns: EventColumns, chosen: Mask) -> tuple[Indices, Indices, Indices]:
    """Chosen events by user and time; each one's place among its user's, and how many that user has."""
    events = np.flatnonzero(chosen)
    order = events[np.argsort(columns.user[events], kind="stable")]
    users = columns.user[order]
    begins = np.searchsorted(users, users, side="left")
    total = np.searchsorted(users, users, side="right") - begins
    return order, np.arange(len(order)) - begins, total


def _start(columns: EventColumns, n_known: int, shown: Indices, events: Indices) -> Start:
    mask = np.zeros(len(columns), dtype=bool)
    mask[shown] = True
    return Start(n_known, mask, np.sort(events))


class StartFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures by system at one start; `content_helps`: with against without the content source."""

    n_known: int
    n_cases: int
    systems: dict[str, Figures]
    intervals: dict[str, Intervals]
    content_helps: list[Difference]


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    """Quality by number of interactions. Its JSON has exactly these keys.

    `until`: figures over all starts together when the content source runs until a user has so many interactions.
    `content_us`: microseconds of the content source alone inside retrieval, by percentile.
    """

    dataset: str
    split: str
    seed: int
    release: str
    protocol: str
    starts: list[StartFigures]
    until: dict[str, Figures]
    until_intervals: dict[str, Intervals]
    content_us: dict[str, float]


def start_figures(n_known: int, answered: Answered, seed: int) -> StartFigures:
    """The figures of one start. `answered` has systems named WITH and WITHOUT, and possibly others."""
    intervals = {name: _intervals(answered.gains(name), answered, seed) for name in answered.places}
    one, other = (_only(answered, name) for name in (WITHOUT, WITH))
    return StartFigures(
        n_known=n_known, n_cases=len(answered), systems=answered.table(),
        intervals=intervals, content_helps=compare(one, other, seed=seed),
    )  # fmt: skip


def until(starts: Sequence[tuple[int, Answered]], seed: int) -> tuple[dict[str, Figures], dict[str, Intervals]]:
    """Figures and intervals over all starts, by the number of interactions after which content is swapped out.

    Taken together from what was answered with and without it; users are redrawn with all their starts.
    """
    figures: dict[str, Figures] = {}
    intervals: dict[str, Intervals] = {}
    users = np.concatenate([answered.users for _, answered in starts])
    first = starts[0][1]
    for switch in (*SWITCHES, MOST_KNOWN + 1):
        gains = np.concatenate([answered.gains(WITH if n < switch else WITHOUT) for n, answered in starts])
        name = "always" if switch > MOST_KNOWN else str(switch)
        figures[name] = dict(zip(first.figures, gains.mean(axis=0).tolist(), strict=True)) | {"n_cases": len(users)}
        intervals[name] = _named(first.figures, mean_intervals(gains, users, seed=seed))
    return figures, intervals


def _intervals(gains: npt.NDArray[np.float64], answered: Answered, seed: int) -> Intervals:
    return _named(answered.figures, mean_intervals(gains, answered.users, seed=seed))


def _named(figures: tuple[str, ...], intervals: list[Interval] | None) -> Intervals:
    return dict(zip(figures, intervals, strict=True)) if intervals else {}


def _only(answered: Answered, system: str) -> Answered:
    """One system's answers under a name that is the same for all."""
    places = {"funnel": answered.places[system]}
    return Answered(answered.events, answered.users, answered.n_before, answered.targets, answered.figures, places)
