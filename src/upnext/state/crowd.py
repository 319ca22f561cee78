"""The crowd as one worker sees it: trends, covisits and newest sessions, moved by each event; knows rows, not ids."""

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from upnext.domain.identity import Keys
from upnext.settings import Settings
from upnext.state.context_trends import CONTEXTS_PART, NOTHING, Context, ContextTrends
from upnext.state.covisits import Covisits
from upnext.state.recent_sessions import SESSIONS_PART, RecentSessions
from upnext.state.trends import ItemTrends

Rows = npt.NDArray[np.int32]
_MOST_VISITORS = 200_000  # whose last item is remembered to pair it with their next; the longest idle make way


class Crowd:
    """Counters over all users. One thread observes; others may read meanwhile."""

    def __init__(self, n_items: int, settings: Settings) -> None:
        self.trends = ItemTrends(n_items, settings.trends)
        self.covisits = Covisits(n_items, settings.trends)
        self.sessions = RecentSessions(n_items, settings.trends) if settings.retrieval.session_knn else None
        self.contexts = ContextTrends(n_items, settings.trends)
        self._session_gap_ms = settings.state.session_gap_ms
        # visitor -> row, session, time, number of the session among the newest ones, circumstances
        self._last: OrderedDict[int, tuple[int, int, int, int, Context]] = OrderedDict()

    def observe(self, visitor: int, session: int, row: int, timestamp_ms: int, context: Context = NOTHING) -> None:
        """One interaction of a visitor (key of the subject) in a session (key, 0 for none) with an item."""
        self.trends.observe(row, timestamp_ms)
        self._follow(visitor, session, row, timestamp_ms, context)

    def observe_batch(self, events: Sequence[tuple[int, int, int, int, Context]]) -> None:
        """The same for some interactions (visitor, session, row, time, context) at once, in the order of the log."""
        for event in events:
            self._follow(*event)
        rows, timestamps_ms = np.array([event[2:4] for event in events], np.int64).reshape(-1, 2).T
        self.trends.observe_batch(rows.astype(np.int32), timestamps_ms)

    def context_of(self, visitor: int) -> Context:
        """The circumstances of the visitor's last interaction; NOTHING where it told none, or is forgotten."""
        last = self._last.get(visitor)
        return NOTHING if last is None else last[4]

    def _follow(self, visitor: int, session: int, row: int, timestamp_ms: int, context: Context) -> None:
        """Pairs an item with the one that its visitor chose before, and adds it to their session."""
        self.contexts.observe(context, row, timestamp_ms)
        last = self._last.pop(visitor, None)
        goes_on = last is not None and self._continues(last, session, timestamp_ms)
        number = last[3] if last is not None and goes_on else 0
        if self.sessions is not None:
            number = self.sessions.add(number, row)
        self._last[visitor] = (row, session, timestamp_ms, number, context)
        if len(self._last) > _MOST_VISITORS:
            self._last.popitem(last=False)
        if last is not None and goes_on and last[0] != row:
            self.covisits.observe(last[0], row, timestamp_ms)

    def observe_history(
        self,
        visitors: Keys,
        sessions: Keys,
        rows: Rows,
        timestamps_ms: npt.NDArray[np.int64],
        contexts: npt.NDArray[np.int32] | None = None,
        context_keys: Keys | None = None,
    ) -> None:
        """Many interactions in time order at once, into an empty crowd; arrays (n,), `contexts` (n, n_names) places in
        `context_keys`.

        The same as one by one, as long as every visitor is remembered and covisits have room for all.
        """
        self.trends.observe_many(rows, timestamps_ms)
        order = np.argsort(visitors, kind="stable")
        before, after = order[:-1], order[1:]
        same_session = (sessions[before] == sessions[after]) & (sessions[before] != 0)
        no_session = (sessions[before] == 0) | (sessions[after] == 0)
        close = timestamps_ms[after] - timestamps_ms[before] <= self._session_gap_ms
        goes_on = (visitors[before] == visitors[after]) & (same_session | (no_session & close))
        pair = goes_on & (rows[before] != rows[after])
        self.covisits.observe_many(rows[before[pair]], rows[after[pair]], timestamps_ms[after[pair]])
        numbers = np.zeros(len(rows), np.int64)
        if self.sessions is not None:
            numbers = self.sessions.add_many(_sessions_of(order, goes_on), rows)
        if contexts is not None and context_keys is not None:
            self.contexts.observe_many(contexts, context_keys, rows, timestamps_ms)
        last = np.sort(np.r_[order[np.flatnonzero(visitors[before] != visitors[after])], order[-1:]])[-_MOST_VISITORS:]
        columns = (rows, sessions, timestamps_ms, numbers)
        told: Iterable[Context] = repeat(NOTHING, len(last))
        if contexts is not None and context_keys is not None:
            told = (tuple(keys) if any(keys) else NOTHING for keys in context_keys[contexts[last]].tolist())
        whereabouts = zip(*(column[last].tolist() for column in columns), told, strict=True)
        self._last = OrderedDict(zip(visitors[last].tolist(), whereabouts, strict=True))

    def _continues(self, last: tuple[int, int, int, int, Context], session: int, timestamp_ms: int) -> bool:
        if session and last[1]:
            return session == last[1]
        return timestamp_ms - last[2] <= self._session_gap_ms

    def save(self, add_array: Callable[[str, npt.NDArray[Any]], object]) -> None:
        """Hands each part to the writer of a release."""
        self.trends.save(add_array)
        self.covisits.save(add_array)
        if self.sessions is not None:
            self.sessions.save(add_array)
        self.contexts.save(add_array)

    def load(
        self, array: Callable[[str], npt.NDArray[Any]], rows: Rows | None = None, *, parts: Container[str] | None = None
    ) -> None:
        """Takes over what `save` handed out; who was where last is forgotten.

        `rows` (n_saved,): the row that each saved row is now, -1 for one that is no more; None: they are as they were.
        Saved rows beyond `rows` are spare ones, of which nothing was observed. `parts`: names of what was saved, where
        that may lack what later versions save; None: it is all there.
        """
        self.trends.load(array, rows)
        self.covisits.load(array, rows)
        if self.sessions is not None and (parts is None or SESSIONS_PART in parts):
            self.sessions.load(array, rows)
        if parts is None or CONTEXTS_PART in parts:
            self.contexts.load(array, rows)
        self._last.clear()


def _sessions_of(order: npt.NDArray[np.intp], goes_on: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(n,) the session of each event, numbered as they begin; `goes_on` tells of each but the first in `order`."""
    begins = np.r_[True, ~goes_on][: len(order)]
    first = order[begins]  # event with which each begins
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = rank[np.cumsum(begins) - 1]
    return numbers
