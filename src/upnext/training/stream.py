"""The click-by-click replay: before each click every system says what it will be, then sees it; knows no system."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from upnext.domain.event import Event
from upnext.errors import TrainingError
from upnext.ingest.columns import EventColumns
from upnext.training.evaluate import Answered
from upnext.training.metrics import places_in_rows
from upnext.training.splits import Mask, interactions

Progress = Callable[[int, int, str], None]
"""Called now and then: events replayed, events in all, how many questions were asked so far."""

PROGRESS_EVERY = 50_000


class StreamSystem(Protocol):
    """A system that learns while it is asked, from events named by their index into one EventColumns."""

    name: str

    def warm(self, mask: Mask) -> None:
        """See all events of `mask` (n_events,) bool at once, in order; the same in effect as observing each."""

    def observe(self, i: int) -> None:
        """See event `i`; called in the order of time, for everyone's events."""

    def rank(self, i: int, k: int) -> npt.NDArray[np.int32]:
        """The k likeliest item rows of event `i`, best first; (at most k,) int32.

        Of event `i` only its user, session and time may be looked at; every earlier event has been observed.
        """


def replay(
    columns: EventColumns,
    cut_ms: int,
    sampled: Mask,
    systems: Sequence[StreamSystem],
    *,
    k: int = 20,
    progress: Progress | None = None,
) -> Answered:
    """Recall@k and MRR@k of each system: where it put each of the clicks foretold.

    Every interaction of the log is revealed in the order of `columns`, those before `cut_ms` at once by `warm`. From
    `cut_ms` on, before each interaction of a session in `sampled` (n_events,) bool but the session's first, each
    system is asked. Events without a session are observed, never asked about. Raises TrainingError when nothing is to
    be asked.
    """
    chosen = interactions(columns)
    early = chosen & (columns.timestamp_ms < cut_ms)
    asked = chosen & ~early & sampled & _continues_session(columns, chosen)
    late = np.flatnonzero(chosen & ~early)
    if not asked.any():
        raise TrainingError(
            f"no sampled session has a second click at or after {cut_ms} ms; choose an earlier cut or a larger sample"
        )
    for system in systems:
        system.warm(early)
    rows = {system.name: np.full((int(asked.sum()), k), -1, dtype=np.int32) for system in systems}
    n = 0
    for done, (i, is_asked) in enumerate(zip(late.tolist(), asked[late].tolist(), strict=True)):
        if is_asked:
            for system in systems:
                ranked = system.rank(i, k)
                rows[system.name][n, : len(ranked)] = ranked
            n += 1
        for system in systems:
            system.observe(i)
        if progress is not None and (done % PROGRESS_EVERY == 0 or done == len(late) - 1):
            progress(done + 1, len(late), f"{n} asked")
    events = np.flatnonzero(asked)
    targets = columns.item[events]
    places = {name: places_in_rows(ranked, targets) for name, ranked in rows.items()}
    n_before = _earlier_of_user(columns, chosen)[events]
    figures = (f"recall@{k}", f"mrr@{k}")
    return Answered(columns.seq[events], columns.user[events], n_before, targets, figures, places)


def sessions_ending_in(scan: Iterable[tuple[int, Event]], columns: EventColumns, ending: str) -> Mask:
    """Which events belong to a session whose id ends in `ending`, (n_events,) bool; events without session do not.

    `scan` is the log that `columns` was read from: columns keep only keys of session ids, the log has the ids.
    """
    chosen = [number for number, event in scan if event.session_id is not None and event.session_id.endswith(ending)]
    mask: Mask = np.isin(columns.seq, np.asarray(chosen, dtype=np.int64))
    return mask


def _continues_session(columns: EventColumns, chosen: Mask) -> Mask:
    """Which chosen events have an earlier chosen one in the same session; session 0 means none."""
    events = np.flatnonzero(chosen & (columns.session != 0))
    order = events[np.argsort(columns.session[events], kind="stable")]
    continues = np.zeros(len(chosen), dtype=bool)
    continues[order[1:]] = columns.session[order[1:]] == columns.session[order[:-1]]
    return continues


def _earlier_of_user(columns: EventColumns, chosen: Mask) -> npt.NDArray[np.int64]:
    """How many chosen events of the same user come before each, (n_events,) int64; 0 for the others."""
    events = np.flatnonzero(chosen)
    order = events[np.argsort(columns.user[events], kind="stable")]
    users = columns.user[order]
    begins = np.searchsorted(users, users, side="left")
    earlier = np.zeros(len(chosen), dtype=np.int64)
    earlier[order] = np.arange(len(order)) - begins
    return earlier
