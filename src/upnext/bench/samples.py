"""What became of each request of a run, in columns; knows neither sockets nor statistics."""

from array import array
from collections.abc import Iterator
from enum import IntEnum

BODY_BUDGET_BYTES = 256 * 2**20


class Outcome(IntEnum):
    """How a request ended. UNSENT and PENDING: the end of the run found it waiting, or without its answer."""

    UNSENT = 0
    PENDING = 1
    REPLIED = 2
    TIMED_OUT = 3
    CLOSED = 4
    MALFORMED = 5


class Samples:
    """One row per request, in order of arrival. Times are in ms on the run's clock, NaN where it did not happen.

    `intended_ms`: when it should have started. `sent_ms`, `done_ms`: first byte out, last byte in. `queued`: 1 where no
    connection was free when it was due. `status`: HTTP status, 0 without a reply. `outcome`: an `Outcome`.
    """

    def __init__(self, body_budget_bytes: int = BODY_BUDGET_BYTES) -> None:
        self.intended_ms = array("d")
        self.sent_ms = array("d")
        self.done_ms = array("d")
        self.queued = array("b")
        self.status = array("h")
        self.outcome = array("b")
        self.bodies = BodySample(body_budget_bytes)

    def __len__(self) -> int:
        return len(self.intended_ms)

    def arrived(self, intended_ms: float, *, queued: bool = False) -> int:
        """Add a row not yet sent and return its index."""
        self.intended_ms.append(intended_ms)
        self.sent_ms.append(float("nan"))
        self.done_ms.append(float("nan"))
        self.queued.append(queued)
        self.status.append(0)
        self.outcome.append(Outcome.UNSENT)
        return len(self.intended_ms) - 1

    def sent(self, index: int, now_ms: float) -> None:
        self.sent_ms[index] = now_ms
        self.outcome[index] = Outcome.PENDING

    def ended(self, index: int, now_ms: float, outcome: Outcome, status: int = 0, body: bytes = b"") -> None:
        self.done_ms[index] = now_ms
        self.outcome[index] = outcome
        self.status[index] = status
        if body:
            self.bodies.offer(index, body)


class BodySample:
    """Bodies by request index: all of them while they fit the budget, then every 2nd, 4th, 8th … of the whole run."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._held: dict[int, bytes] = {}
        self._held_bytes = 0
        self.every = 1

    def offer(self, index: int, body: bytes) -> None:
        """Keep `body` if its index is among those sampled; thins what is held when the budget is passed."""
        if index % self.every:
            return
        self._held[index] = body
        self._held_bytes += len(body)
        while self._held_bytes > self._budget_bytes and len(self._held) > 1:
            self.every *= 2
            self._held = {kept: held for kept, held in self._held.items() if kept % self.every == 0}
            self._held_bytes = sum(map(len, self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return iter(self._held.items())
