"""One user as a release sees them at one moment: state in item rows, vectors, and what follows from both.

The single input of retrieval, feature assembly and rules, in serving, training and evaluation alike.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upnext.catalog.catalog import Catalog
from upnext.state.user_state import UserState, UserVectors

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
_NO_ROWS: Rows = np.empty(0, np.int32)
_NO_FLOATS: Floats = np.empty(0, np.float32)


@dataclass(slots=True)
class UserView:
    """A user for whom nothing is known has the default view. Items that the release does not have are left out."""

    n_interactions: int = 0
    last_ms: int = 0  # time of the latest event, 0 for none
    recent_rows: Rows = field(default_factory=lambda: _NO_ROWS)  # (≤ 50,) newest last
    seen_rows: Rows = field(default_factory=lambda: _NO_ROWS)  # (n_seen,) in no particular order
    user_vector: Floats = field(default_factory=lambda: _NO_FLOATS)  # (dim,) or empty
    session_vector: Floats = field(default_factory=lambda: _NO_FLOATS)  # (dim,) or empty
    state_version: int = 0
    n_moves: int = 0  # interactions and hints so far: what was worked out for the user holds while it stays
    lags: bool = False  # whether the vectors are of an earlier state, since the session encoder cannot be asked
    n_before_session: int = 0  # of recent_rows, the oldest: chosen before the latest session began

    @classmethod
    def of(cls, state: UserState, vectors: UserVectors | None, catalog: Catalog, session_gap_ms: int) -> "UserView":
        """The view of a stored state; vectors may be absent. A pause longer than `session_gap_ms` begins a session."""
        rows = catalog.rows_of(np.concatenate([state.recent_keys, state.seen]))  # one look-up costs less than two
        recent, seen = rows[: len(state.recent_keys)], rows[len(state.recent_keys) :]
        known = recent >= 0
        return cls(
            n_interactions=state.n_interactions,
            last_ms=state.last_ms,
            recent_rows=recent[known],
            n_before_session=int(np.count_nonzero(known[: before_session(state.recent_ms, session_gap_ms)])),
            seen_rows=seen[seen >= 0],
            user_vector=vectors.user_vector if vectors else _NO_FLOATS,
            session_vector=vectors.session_vector if vectors else _NO_FLOATS,
            state_version=state.state_version,
            n_moves=state.n_moves,
            lags=vectors is not None and vectors.state_version != state.state_version,
        )


def before_session(times_ms: npt.NDArray[np.int64], gap_ms: int) -> int:
    """How many of the interactions at `times_ms` (n,), oldest first, came before the newest pause longer than `gap_ms`.

    Session ids do not count here: a client that names two sessions without a pause between them means one person.
    """
    pauses = np.flatnonzero(times_ms[1:] - times_ms[:-1] > gap_ms)
    return int(pauses[-1]) + 1 if len(pauses) else 0
