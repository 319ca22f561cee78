"""Whether a stage of a request may start, and what became of it: learnt costs and breakers as the funnel sees them.

Knows neither how costs are learnt nor when a breaker opens.
"""

from collections.abc import Mapping
from typing import Protocol

from upnext.funnel.answer import Answer

# Stages by the names of their costs; ranking has one for each exit, as in "ranking:exit3".
STATE, RETRIEVAL, RANKING, RERANKING = "state", "retrieval", "ranking", "reranking"
_BREAKER_OF = {STATE: "state", RETRIEVAL: "retrieval", RANKING: "ranker"}


class StageCosts(Protocol):
    """What stages have cost of late. Called by several threads."""

    def observe(self, stage: str, spent_ms: float) -> None:
        """A stage has come through in `spent_ms`."""

    def p99_ms(self, stage: str) -> float:
        """What 99 of 100 stay below; 0 while it is unknown."""

    def skipped(self, stage: str) -> None:
        """A stage was not started for what it costs, so that nothing will be observed of it."""


class Breaker(Protocol):
    """Stops calls of something that fails or hangs. Called by several threads."""

    def allow(self) -> bool:
        """Whether a call may start now. After True there is exactly one `record`."""

    def record(self, spent_ms: float, ok: bool) -> None:
        """What became of a call that was allowed."""


class NoCosts:
    """Nothing is known, so everything fits: for training and measurements."""

    def observe(self, stage: str, spent_ms: float) -> None:
        pass

    def p99_ms(self, stage: str) -> float:
        return 0.0

    def skipped(self, stage: str) -> None:
        pass


class Stages:
    """The costs and breakers of one funnel. `Answer.running` says which stage is under way."""

    def __init__(self, costs: StageCosts | None = None, breakers: Mapping[str, Breaker] | None = None) -> None:
        """`breakers` by what they guard: any of "state" (the reading of it), "retrieval" and "ranker"."""
        self.costs: StageCosts = NoCosts() if costs is None else costs
        given = {} if breakers is None else breakers
        self._breakers = {stage: given[name] for stage, name in _BREAKER_OF.items() if name in given}

    def start(self, stage: str, answer: Answer) -> bool:
        """Whether `stage` may start; if not, `answer` says why. After True comes `end`, or `give_up`."""
        breaker = self._breakers.get(stage)
        if breaker is not None and not breaker.allow():
            answer.degrade(stage, "breaker_open")
            return False
        answer.running.append(stage)
        return True

    def end(self, answer: Answer, spent_ms: float, cost: str) -> None:
        """The stage under way is through; `cost` is the name its cost is known by, "" when it failed.

        Does nothing when none was started, or it was given up meanwhile.
        """
        if not answer.running:
            return
        stage = _taken(answer)
        if not stage:
            return
        if cost:
            self.costs.observe(cost, spent_ms)
        breaker = self._breakers.get(stage)
        if breaker is not None:
            breaker.record(spent_ms, bool(cost))

    def give_up(self, answer: Answer, spent_ms: float) -> None:
        """Nobody waits any more for the stage under way, if there is one: it counts as failed. From any thread."""
        breaker = self._breakers.get(_taken(answer))
        if breaker is not None:
            breaker.record(spent_ms, False)


def _taken(answer: Answer) -> str:
    """Of two threads at once only one gets the stage; the other gets ""."""
    try:
        return answer.running.pop()
    except IndexError:
        return ""
