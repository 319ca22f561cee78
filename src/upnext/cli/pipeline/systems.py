"""The systems that only a whole funnel or a trained encoder can be, for the evaluation of a release."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from upnext.features.item_vectors import ItemVectors
from upnext.funnel.replay import Replay
from upnext.ingest.columns import EventColumns
from upnext.models.session_encoder import SessionEncoder
from upnext.training.baselines import Scored
from upnext.training.evaluate import System
from upnext.training.splits import Cases, Mask

Rows = npt.NDArray[np.int32]
RankOne = Callable[[int, int], Rows]  # (user, k) -> at most k rows


class ReplaySystem:
    """One stage of a replay as a `System`; the replay has been told everything that the cases may look at."""

    def __init__(self, name: str, rank_one: RankOne) -> None:
        """`rank_one` (user, k) gives at most k rows."""
        self.name = name
        self._rank_one = rank_one

    def rank(self, cases: Cases, k: int) -> Rows:
        ranked = np.full((len(cases), k), -1, np.int32)
        for case, user in enumerate(cases.users.tolist()):
            rows = self._rank_one(user, k)[:k]
            ranked[case, : len(rows)] = rows
        return ranked


class ReplayStream:
    """One stage of a replay as a `StreamSystem`."""

    def __init__(self, name: str, columns: EventColumns, replay: Replay, rank_one: RankOne, tracked: Mask) -> None:
        """`tracked` (n_events,): events whose users will be asked about; the others only move the crowd."""
        self.name = name
        self._columns = columns
        self._replay = replay
        self._rank_one = rank_one
        self._tracked = tracked

    def warm(self, mask: Mask) -> None:
        """Nothing: the replay begins where the histories and the crowd it was given end."""

    def observe(self, i: int) -> None:
        columns = self._columns
        self._replay.observe(
            int(columns.user[i]), int(columns.session[i]), int(columns.item[i]), int(columns.timestamp_ms[i]),
            action=int(columns.action[i]), value=float(columns.value[i]), tracked=bool(self._tracked[i]),
            context=columns.context_of(i),
        )  # fmt: skip

    def rank(self, i: int, k: int) -> Rows:
        return self._rank_one(int(self._columns.user[i]), k)


def session_system(encoder: SessionEncoder, vectors: ItemVectors) -> System:
    """The session encoder alone, scored exactly over the whole catalogue."""

    def score(cases: Cases) -> npt.NDArray[np.float32]:
        assert vectors.session is not None
        hidden, _ = encoder.encode(cases.histories)
        scores: npt.NDArray[np.float32] = hidden @ vectors.session[:, :-1].T + vectors.session[:, -1]
        return scores

    return Scored("session", score)


def funnel_systems(replay: Replay) -> list[System]:
    """Retrieval alone, with the ranker, and as served with all rules."""
    stages: list[tuple[str, RankOne]] = [("retrieval", replay.retrieved)]
    if replay.funnel.ranker is not None:
        stages.append(("ranked", replay.ranked))
    stages.append(("funnel", replay.slate))
    return [ReplaySystem(name, rank_one) for name, rank_one in stages]
