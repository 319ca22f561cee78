"""A funnel in a world of its own, moved by recorded events instead of requests: for training lists and evaluation.

Everything it asks of the funnel goes through the code that serves requests.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from upnext.clock import Deadline, SystemClock
from upnext.domain.event import ACTIONS
from upnext.domain.identity import Keys
from upnext.features.session_stepper import GraphStepper
from upnext.features.signals import Signals
from upnext.features.user_view import UserView, before_session
from upnext.funnel.answer import Answer
from upnext.funnel.funnel import Funnel, best_first
from upnext.funnel.request import SlateRequest
from upnext.funnel.retrieval.merge import Candidates
from upnext.settings import StateSettings
from upnext.state.advance import part_of_step
from upnext.state.context_trends import NOTHING, Context
from upnext.state.step_input import UNKNOWN_ACTION, UNKNOWN_GAP_MS, UNKNOWN_VALUE, StepInput, weight_of

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Histories:
    """Where the users stand when the replay begins; a user owns `rows[offsets[u]:offsets[u + 1]]`, oldest first.

    offsets (n_users + 1,) int64; rows, times_ms (n_events,). `slots` (n_users,) int32: the user's place in the vector
    arrays, -1 for none: session_vectors (n, dim), hidden (n, state_size), user_vectors (n, dim or 0).
    """

    offsets: npt.NDArray[np.int64]
    rows: Rows
    times_ms: npt.NDArray[np.int64]
    slots: Rows
    session_vectors: Floats
    hidden: Floats
    user_vectors: Floats


class Replay:
    """Users by index, as in the columns of a log. One thread."""

    def __init__(self, funnel: Funnel, stepper: GraphStepper | None, visitors: Keys, settings: StateSettings) -> None:
        """`visitors` (n_users,): keys of the subjects. The funnel's crowd must be the replay's alone."""
        self.funnel = funnel
        self._stepper = stepper
        self._visitors = visitors.tolist()
        self._settings = settings
        self._histories: Histories | None = None
        self._views: dict[int, UserView] = {}
        self._hidden: dict[int, Floats] = {}
        self._chosen_ms: dict[int, int] = {}  # when each chose last
        self._never = Deadline.never(SystemClock())

    def begin(self, histories: Histories) -> None:
        """The users stand where `histories` leave them; the crowd is left as it is."""
        self._histories = histories
        self._views.clear()
        self._hidden.clear()
        self._chosen_ms.clear()

    def observe(
        self, user: int, session: int, row: int, timestamp_ms: int, *, action: int = UNKNOWN_ACTION,
        value: float = UNKNOWN_VALUE, tracked: bool = True, context: Context = NOTHING,
    ) -> None:  # fmt: skip
        """One interaction with an item becomes known: the code of its action, what it measured (NaN for nothing).

        Users not `tracked` move the crowd only. `context`: circumstances of the interaction, see `ContextTrends`.
        """
        self.funnel.crowd.observe(self._visitors[user], session, row, timestamp_ms, context)
        if not tracked:
            return
        view, before_ms = self.view(user), self._chosen_ms.get(user)
        session_vector = self._stepped(user, view, row, timestamp_ms, action, value)
        recent_rows = np.append(view.recent_rows, np.int32(row))
        n_before = view.n_before_session
        if before_ms is not None and timestamp_ms - before_ms > self._settings.session_gap_ms:
            n_before = len(view.recent_rows)
        n_dropped = max(0, len(recent_rows) - self._settings.recent_events)
        self._views[user] = replace(
            view,
            n_interactions=view.n_interactions + 1,
            last_ms=max(view.last_ms, timestamp_ms),
            recent_rows=recent_rows[n_dropped:],
            n_before_session=max(0, n_before - n_dropped),
            seen_rows=view.seen_rows if row in view.seen_rows else np.append(view.seen_rows, np.int32(row)),
            session_vector=session_vector,
            state_version=view.state_version + 1,
            n_moves=view.n_moves + 1,
        )

    def _stepped(self, user: int, view: UserView, row: int, timestamp_ms: int, action: int, value: float) -> Floats:
        """The user's session vector after the interaction, as `stepped` would have left it."""
        before_ms, self._chosen_ms[user] = self._chosen_ms.get(user), timestamp_ms
        if self._stepper is None:
            return view.session_vector
        gap_ms = UNKNOWN_GAP_MS if before_ms is None else max(timestamp_ms - before_ms, 0)
        weight = 1.0 if action == UNKNOWN_ACTION else weight_of(ACTIONS[action], self._settings)
        one = StepInput(0, action, gap_ms, value, weight)
        step = self._stepper.step_rows([self._hidden[user]], (row,), (one,))[0]
        if step is None:
            return view.session_vector
        self._hidden[user], session_vector = part_of_step(self._hidden[user], view.session_vector, step, weight)
        return session_vector

    def view(self, user: int) -> UserView:
        """The user as the funnel would see them now."""
        known = self._views.get(user)
        if known is not None:
            return known
        self._hidden[user] = np.empty(0, np.float32)
        view = UserView()
        if self._histories is not None:
            view = self._from_history(user, self._histories)
        self._views[user] = view
        return view

    def _from_history(self, user: int, histories: Histories) -> UserView:
        begin, end = int(histories.offsets[user]), int(histories.offsets[user + 1])
        rows, slot = histories.rows[begin:end], int(histories.slots[user])
        view = UserView(n_interactions=end - begin, state_version=end - begin, n_moves=end - begin)
        if begin < end:
            view.last_ms = self._chosen_ms[user] = int(histories.times_ms[end - 1])
            view.recent_rows = rows[-self._settings.recent_events :]
            recent_ms = histories.times_ms[begin:end][-self._settings.recent_events :]
            view.n_before_session = before_session(recent_ms, self._settings.session_gap_ms)
            view.seen_rows = np.unique(rows)
        if slot >= 0:
            view.session_vector = histories.session_vectors[slot]
            view.user_vector = histories.user_vectors[slot]
            self._hidden[user] = histories.hidden[slot]
        return view

    def retrieve(self, user: int) -> tuple[UserView, Signals, Candidates]:
        """Stage one for a user, now."""
        funnel, view = self.funnel, self.view(user)
        answer, request = self._question(user, k=1)
        signals = funnel.signals(view, request)
        answer.seen_rows = view.seen_rows
        return view, signals, funnel.candidates(view, signals, request, answer, self._never)

    def retrieved(self, user: int, k: int) -> Rows:
        """The first `k` rows after retrieval, in its order."""
        return self.retrieve(user)[2].rows[:k]

    def ranked(self, user: int, k: int) -> Rows:
        """The first `k` rows after ranking, without rules but the one against seen items."""
        view, signals, candidates = self.retrieve(user)
        if not len(candidates.rows):
            return candidates.rows
        scores = self.funnel.score(view, signals, candidates.rows, candidates.sources, candidates.scores)
        return candidates.rows[best_first(scores)[:k]]

    def slate(self, user: int, k: int) -> Rows:
        """The rows of the slate as served: all stages, all rules, topped up."""
        answer, request = self._question(user, k)
        view = self.view(user)
        self.funnel.run(request, answer, lambda _: view, self._never)
        assert answer.slate is not None
        return answer.slate.rows

    def _question(self, user: int, k: int) -> tuple[Answer, SlateRequest]:
        """Asked under the circumstances of the user's last interaction."""
        context = self.funnel.crowd.context_of(self._visitors[user])
        return Answer(self.funnel.popular()), SlateRequest(subject=None, k=k, context=context)
