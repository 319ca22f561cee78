"""Which events may be learned from and which are asked about; knows no model and no metric."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upnext.domain.event import INTERACTION_CODES
from upnext.errors import TrainingError
from upnext.ingest.columns import EventColumns
from upnext.training.sequences import Sequences

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

MIN_INTERACTIONS = 3
"""A user needs one event to learn from, one for the ranker and one to be asked about."""
RANKER_SHARE = 0.1
"""Most of the training period that a split by time keeps back for the ranker."""


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint parts of one EventColumns; only interactions with a known item are in any of them.

    `train`, `ranker`: (n_events,) bool. Encoders learn from `train`; the ranker from `ranker`, whose events they have
    not seen. `case_users` (n_cases,) int32 and `case_events` (n_cases,) int64: who is asked about, and the index of the
    event to be foretold. For every case user all `train` and `ranker` events stand before the case's event.
    """

    name: str
    train: Mask
    ranker: Mask
    case_users: npt.NDArray[np.int32]
    case_events: Indices

    @property
    def n_cases(self) -> int:
        return len(self.case_events)


@dataclass(frozen=True, slots=True)
class Cases:
    """Questions of the kind "what next for this user, now?", with their right answers.

    `users` (n_cases,) int32; `histories`: one per *case*, every interaction the model may see, oldest first, possibly
    none; `now_ms` (n_cases,) int64, when the question is asked; `targets` (n_cases,) int32, the item rows to be found.
    `drop_seen`: items of the history are not wanted in the answer. `events` (n_cases,) int64: sequence numbers of the
    events to be foretold, None where nobody needs them.
    """

    users: npt.NDArray[np.int32]
    histories: Sequences
    now_ms: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int32]
    drop_seen: bool = True
    events: Indices | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, which: Mask | Indices | slice) -> "Cases":
        """The chosen cases, in the order of `which`."""
        chosen = np.arange(len(self))[which]
        events = None if self.events is None else self.events[chosen]
        return Cases(
            self.users[chosen], self.histories.take(chosen), self.now_ms[chosen], self.targets[chosen], self.drop_seen,
            events,
        )  # fmt: skip

    def numbers(self) -> Indices:
        """`events`, or the places of the cases where they have none."""
        return np.arange(len(self)) if self.events is None else self.events

    def new_targets_only(self) -> "Cases":
        """The cases whose target is not in their own history; with seen items dropped the others have no answer."""
        case = np.repeat(np.arange(len(self)), self.histories.lengths)
        answered = np.zeros(len(self), dtype=bool)
        answered[case[self.histories.items == self.targets[case]]] = True
        return self.take(~answered)


def interactions(columns: EventColumns) -> Mask:
    """Events by which a user chose an item, (n_events,) bool."""
    chosen: Mask = np.isin(columns.action, list(INTERACTION_CODES)) & (columns.item >= 0)
    return chosen


def leave_one_out(columns: EventColumns) -> Split:
    """Per user: the last interaction is the case, the one before it the ranker's, all earlier ones are for training.

    Users with fewer than MIN_INTERACTIONS interactions only train. Raises TrainingError when that leaves no case.
    """
    chosen = interactions(columns)
    from_end = _places_from_end(columns.user, chosen)
    n_of_user = np.bincount(columns.user[chosen], minlength=len(columns.users))
    held_back = chosen & (n_of_user[columns.user] >= MIN_INTERACTIONS)
    ranker, case = held_back & (from_end == 1), held_back & (from_end == 0)
    return _split("leave_one_out", columns, chosen & ~ranker & ~case, ranker, np.flatnonzero(case))


def by_time(columns: EventColumns, *, cut_ms: int | None = None, test_fraction: float = 0.1) -> Split:
    """Everything before the cut is known; the cases are each user's first interaction at or after it.

    `cut_ms` is the cut; without it, the newest `test_fraction` of all interactions lies after the cut. The ranker's
    part is the end of the training period: as long as the test period, but at most RANKER_SHARE of the training
    period. Users without any interaction before the cut are no cases: nothing is known of them. Raises TrainingError
    when no training event or no case is left.
    """
    chosen = interactions(columns)
    times = columns.timestamp_ms[chosen]
    if not len(times):
        raise TrainingError("the log holds no interaction with an item; import events before splitting them")
    if cut_ms is None:
        if not 0 < test_fraction < 1:
            raise TrainingError(f"test_fraction is {test_fraction}; it must lie between 0 and 1")
        cut_ms = int(times[min(len(times) - 1, int(len(times) * (1 - test_fraction)))])
    before = chosen & (columns.timestamp_ms < cut_ms)
    training_ms = cut_ms - int(times[0])
    ranker_ms = min(int(times[-1]) - cut_ms + 1, int(training_ms * RANKER_SHARE))
    ranker = before & (columns.timestamp_ms >= cut_ms - ranker_ms)
    known = np.zeros(len(columns.users), dtype=bool)
    known[columns.user[before]] = True
    after = np.flatnonzero(chosen & (columns.timestamp_ms >= cut_ms) & known[columns.user])
    _, first = np.unique(columns.user[after], return_index=True)
    return _split("by_time", columns, before & ~ranker, ranker, np.sort(after[first]))


def cases_at(columns: EventColumns, events: Indices, *, drop_seen: bool = True) -> Cases:
    """One case per event: foretell it from every interaction of the same user before it.

    `events` (n_cases,) indices into `columns`, each an interaction; the cases keep their order.
    """
    chosen = np.flatnonzero(interactions(columns))
    order = chosen[np.argsort(columns.user[chosen], kind="stable")]  # an unstable sort would change the targets
    starts = np.zeros(len(columns.users) + 1, dtype=np.int64)
    np.cumsum(np.bincount(columns.user[order], minlength=len(columns.users)), out=starts[1:])
    place_of = np.full(len(columns.user), -1, dtype=np.int64)
    place_of[order] = np.arange(len(order))
    if len(events) and (place_of[events] < 0).any():
        wrong = int(events[place_of[events] < 0][0])
        raise TrainingError(f"event {wrong} is no interaction with an item, so it cannot be foretold")
    users = columns.user[events]
    lengths = place_of[events] - starts[users]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    places = np.arange(offsets[-1]) + np.repeat(starts[users] - offsets[:-1], lengths)
    seen = order[places]
    histories = Sequences(
        offsets, columns.item[seen].astype(np.int32), columns.action[seen], columns.timestamp_ms[seen],
        columns.value[seen],
    )  # fmt: skip
    return Cases(
        users.astype(np.int32),
        histories,
        columns.timestamp_ms[events],
        columns.item[events].astype(np.int32),
        drop_seen,
        columns.seq[events],
    )


def _places_from_end(users: npt.NDArray[np.integer], chosen: Mask) -> Indices:
    """How many of the same user's chosen events come after each chosen one, (n_events,) int64; -1 for the others."""
    events = np.flatnonzero(chosen)
    order = events[np.argsort(users[events], kind="stable")]
    counts = np.bincount(users[order]) if len(order) else np.zeros(0, np.int64)
    ends = np.cumsum(counts)
    from_end = np.full(len(users), -1, dtype=np.int64)
    from_end[order] = ends[users[order]] - 1 - np.arange(len(order))
    return from_end


def _split(name: str, columns: EventColumns, train: Mask, ranker: Mask, case_events: Indices) -> Split:
    if not train.any() or not len(case_events):
        raise TrainingError(
            f"split {name} leaves {int(train.sum())} events to train on and {len(case_events)} cases to test; "
            "it needs users with several interactions: import more events or choose another split"
        )
    return Split(name, train, ranker, columns.user[case_events].astype(np.int32), case_events)
