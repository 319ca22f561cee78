"""VMIS-kNN as a system of the click-by-click replay: what the sessions most like this one held; no training at all.

Kersbergen, Sprangers, Schelter: "Serenade - Low-Latency Session-Based Recommendation in e-Commerce at Scale", SIGMOD
2022: of the newest sessions that share an item with the current one, the most similar vote for their items.
"""

import math
from collections import deque
from collections.abc import Iterable
from heapq import nlargest

import numpy as np
import numpy.typing as npt

from upnext.ingest.columns import EventColumns
from upnext.training.splits import Mask

_LONGEST = 100  # newest distinct items of a session that are looked at
_FORGOTTEN_AFTER = 10  # steps back from which on a shared item gives a neighbour no vote


class VmisKnn:
    """Sessions are known as far as they have come; the current one is none of its own neighbours.

    Items of the current session are not answered: what was just clicked is hardly ever the next click. Fewer than k
    items, possibly none, where no other session shares an item.
    """

    name = "vmis_knn"

    def __init__(self, columns: EventColumns, *, newest: int = 500, neighbours: int = 500) -> None:
        """`newest`: sessions looked at, m in the paper; `neighbours`: the most similar of them, which vote, k there."""
        self._items: list[int] = columns.item.tolist()
        self._sessions: list[int] = columns.session.tolist()
        self._newest = newest
        self._neighbours = neighbours
        self._of_session: dict[int, list[int]] = {}  # distinct items, oldest first
        self._latest: dict[int, int] = {}  # newest event of each session
        self._with_item: dict[int, deque[int]] = {}  # sessions, the last to come to the item last
        self._n_with_item: dict[int, int] = {}

    def warm(self, mask: Mask) -> None:
        for i in np.flatnonzero(mask).tolist():
            self.observe(i)

    def observe(self, i: int) -> None:
        session, item = self._sessions[i], self._items[i]
        if not session:
            return
        self._latest[session] = i
        items = self._of_session.setdefault(session, [])
        if item in items:
            return
        items.append(item)
        self._with_item.setdefault(item, deque(maxlen=self._newest)).append(session)
        self._n_with_item[item] = self._n_with_item.get(item, 0) + 1

    def rank(self, i: int, k: int) -> npt.NDArray[np.int32]:
        scores = self.scores(i)
        return np.array(nlargest(k, scores, key=scores.__getitem__), dtype=np.int32)

    def scores(self, i: int) -> dict[int, float]:
        """Of each item that a neighbour of event `i`'s session held: its neighbours' votes times its rarity."""
        session = self._sessions[i]
        current = self._of_session.get(session, [])[-_LONGEST:]
        similarity, steps_back = self._similar(session, current)
        votes: dict[int, float] = {}
        for other in self._chosen(similarity):
            weight = similarity[other] * max(0.0, 1.0 - steps_back[other] / _FORGOTTEN_AFTER)
            for item in self._of_session[other]:
                votes[item] = votes.get(item, 0.0) + weight
        for item in current:
            votes.pop(item, None)
        n_sessions = len(self._of_session)
        return {item: vote * math.log(n_sessions / self._n_with_item[item]) for item, vote in votes.items()}

    def _similar(self, session: int, current: list[int]) -> tuple[dict[int, float], dict[int, int]]:
        """Sessions with items of the current one: the sum of these items' weights, and how far back the newest is."""
        similarity: dict[int, float] = {}
        steps_back: dict[int, int] = {}
        for back, item in enumerate(reversed(current)):
            weight = (len(current) - back) / len(current)
            for other in self._with_item.get(item, ()):
                if other not in similarity:
                    similarity[other], steps_back[other] = 0.0, back + 1
                similarity[other] += weight
        similarity.pop(session, None)
        return similarity, steps_back

    def _chosen(self, similarity: dict[int, float]) -> Iterable[int]:
        latest = self._latest
        newest = nlargest(self._newest, similarity, key=latest.__getitem__)
        return nlargest(self._neighbours, newest, key=lambda other: (similarity[other], latest[other]))
