"""Which request goes on which connection, open loop or closed; knows no sockets and waits for nothing."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from upnext.bench.samples import Outcome, Samples


class Line(Protocol):
    """What a load needs of a connection."""

    request: int  # the row in flight, -1 when idle
    busy_since_ms: float

    @property
    def writable(self) -> bool: ...

    def send(self, request: bytes) -> None: ...

    def abort(self) -> None: ...


class Load:
    """Records what happens on lines; a kind of load says what a free line does next.

    `picks` are the indices into `requests` of the first, second, … request, used over and over.
    """

    def __init__(
        self, requests: Sequence[bytes], picks: Sequence[int], samples: Samples, now_ms: Callable[[], float]
    ) -> None:
        self._requests = requests
        self._picks = picks
        self._samples = samples
        self._now_ms = now_ms
        self.lines: set[Line] = set()

    def freed(self, line: Line) -> None:
        """The line can take a request."""
        raise NotImplementedError

    def opened(self, line: Line) -> None:
        self.lines.add(line)
        self.freed(line)

    def replied(self, line: Line, status: int, body: bytes) -> None:
        index = line.request
        if index < 0:  # nobody asked: the server has given up on the idle connection
            line.abort()
            return
        self._samples.ended(index, self._now_ms(), Outcome.REPLIED, status, body)
        line.request = -1
        self.freed(line)

    def malformed(self, line: Line) -> None:
        self._fail(line, Outcome.MALFORMED)

    def lost(self, line: Line) -> None:
        self._fail(line, Outcome.CLOSED)
        self.lines.discard(line)

    def give_up(self, before_ms: float) -> None:
        """Requests sent before that moment count as timed out, and their lines are closed."""
        for line in [line for line in self.lines if line.request >= 0 and line.busy_since_ms < before_ms]:
            self._fail(line, Outcome.TIMED_OUT)
            line.abort()

    @property
    def in_flight(self) -> int:
        return sum(line.request >= 0 for line in self.lines)

    def _send(self, line: Line, index: int) -> None:
        now_ms = self._now_ms()
        line.request = index
        line.busy_since_ms = now_ms
        self._samples.sent(index, now_ms)
        line.send(self._requests[self._picks[index % len(self._picks)]])

    def _fail(self, line: Line, outcome: Outcome) -> None:
        if line.request >= 0:
            self._samples.ended(line.request, self._now_ms(), outcome)
            line.request = -1


class OpenLoad(Load):
    """Requests come when they are due, whatever the server does; those that find no free line wait in order."""

    def __init__(
        self, requests: Sequence[bytes], picks: Sequence[int], samples: Samples, now_ms: Callable[[], float]
    ) -> None:
        super().__init__(requests, picks, samples, now_ms)
        # The line idle for longest goes first: none idles out, and all workers of a server get their share.
        self._idle: deque[Line] = deque()
        self._waiting: deque[int] = deque()

    def due(self, intended_ms: float) -> None:
        """A request of that intended start goes out on an idle line, or waits for one."""
        while self._idle:
            line = self._idle.popleft()
            if line.writable:
                self._send(line, self._samples.arrived(intended_ms))
                return
        self._waiting.append(self._samples.arrived(intended_ms, queued=True))

    def freed(self, line: Line) -> None:
        if not line.writable:
            return
        if self._waiting:
            self._send(line, self._waiting.popleft())
        else:
            self._idle.append(line)

    @property
    def waiting(self) -> int:
        return len(self._waiting)


class ClosedLoad(Load):
    """Every line asks again the moment it is answered, until `stop`: the most a server can do, not what users feel."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True

    def freed(self, line: Line) -> None:
        if line.writable and not self.stopped:
            self._send(line, self._samples.arrived(self._now_ms()))
