"""Users who have just paused or opened the app, in line to have their next shortlist worked out before they ask.

Knows neither how shortlists are made nor when nobody waits.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from upnext.clock import Clock
from upnext.domain.event import Event
from upnext.domain.identity import subject_of
from upnext.settings import AheadSettings
from upnext.state.shortlist import Origin

# Whoever pauses looks around a moment later; whoever opens the app is about to be shown a slate.
_ORIGIN_OF: dict[str, Origin] = {"pause": "prefetch", "app_open": "speculation"}


class _Occasion(NamedTuple):
    origin: Origin
    region: str
    noted_ms: float


class Occasions:
    """The users in line, at most `ahead.occasions`; each once, with what they did last. Any thread may call."""

    def __init__(
        self,
        settings: AheadSettings,
        clock: Clock,
        work: Callable[[str, Origin, str], None],
        offer: Callable[[Callable[[], None]], None],
    ) -> None:
        """`work` works a shortlist out and stores it, given subject, origin, and region ("" for none).

        `offer` takes a turn for a moment in which nobody waits, and may drop it; see `ComputeThread.offer`. In each
        turn there is work for one user, the one who has waited longest.
        """
        self._settings = settings
        self._clock = clock
        self._work = work
        self._offer = offer
        self._line: OrderedDict[str, _Occasion] = OrderedDict()  # by subject, in the order of `noted_ms`
        self._lock = threading.Lock()
        self.noted = 0  # occasions; several of one user may come to one shortlist
        self.made = 0  # shortlists that were worked out
        self.dropped = 0  # users who waited too long, or had to make way for newer ones

    def __len__(self) -> int:
        return len(self._line)

    def note(self, events: Sequence[Event]) -> None:
        """To be called after `events` were applied. 0.03 µs for an event that is no occasion."""
        for event in events:
            if (origin := _ORIGIN_OF.get(event.action)) and event.consent:
                self._note(event, origin)

    def _note(self, event: Event, origin: Origin) -> None:
        subject = subject_of(event.user_id, event.session_id)
        if subject is None:
            return
        region = event.context.get("region")
        occasion = _Occasion(origin, region if isinstance(region, str) else "", self._clock.monotonic_ms())
        with self._lock:
            self.noted += 1
            self._drop_old(occasion.noted_ms)
            if self._line.pop(subject, None) is not None:
                self._line[subject] = occasion  # a turn is offered already
                return
            if len(self._line) >= self._settings.occasions:
                self._line.popitem(last=False)
                self.dropped += 1
            self._line[subject] = occasion
        self._offer(self._take_turn)

    def _take_turn(self) -> None:
        with self._lock:
            self._drop_old(self._clock.monotonic_ms())
            if not self._line:
                return
            subject, (origin, region, _) = self._line.popitem(last=False)
        self._work(subject, origin, region)
        with self._lock:
            self.made += 1

    def _drop_old(self, now_ms: float) -> None:
        oldest_ms = now_ms - self._settings.occasion_age_ms
        while self._line:
            subject = next(iter(self._line))
            if self._line[subject].noted_ms >= oldest_ms:
                return
            del self._line[subject]
            self.dropped += 1
