"""What must hold of a home after any fault: log and states against what producers were told; asks no server."""

import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.faults.producer import N_USERS, Account
from upnext.clock import Deadline, SystemClock
from upnext.domain.event import INTERACTIONS, Event
from upnext.errors import StoreError
from upnext.ingest.lmdb_log import LmdbEventLog
from upnext.settings import StoreSettings
from upnext.state.user_state import UserState, state_key
from upnext.store.opening import open_store

_BATCH = 2_000
_USERS = [f"fault-user-{number}" for number in range(N_USERS)]


@dataclass
class Findings:
    """Event ids and users with which something is wrong; all empty is right."""

    lost: set[str] = field(default_factory=set)  # acknowledged, but not in the log
    torn: set[str] = field(default_factory=set)  # in the log, but unreadable or not as sent
    twice: set[str] = field(default_factory=set)
    never_sent: set[str] = field(default_factory=set)
    wrong_states: set[str] = field(default_factory=set)  # users whose state is not what the log says
    behind: int = 0  # users whose state lacks events of the log: none, once everything is quiet

    @property
    def sound(self) -> bool:
        return not (self.lost or self.torn or self.twice or self.never_sent or self.wrong_states)


class HomeCheck:
    """Follows a home's log from where it is now, and holds it against an account, as often as wanted.

    May be called from many threads.
    """

    def __init__(self, home: Path, account: Account, store: StoreSettings | None = None) -> None:
        self._account = account
        self._clock = SystemClock()
        self._log = LmdbEventLog(home / "log")
        self._store = open_store(home, store or StoreSettings(), self._clock)
        self._looking = threading.Lock()
        self._after = self._log.last()
        self._in_log: set[str] = set()
        # Per user, of their events in the log: numbers, and how many interactions there are up to each.
        self._numbers: dict[str, list[int]] = defaultdict(list)
        self._interactions: dict[str, list[int]] = defaultdict(lambda: [0])
        self.findings = Findings()

    def look(self) -> Findings:
        """At any moment, also under load: what was acknowledged before must be in the log, states must fit it.

        A state may lack the newest events, but must be exactly what the events up to its `applied_sequence` make.
        """
        with self._looking:
            acknowledged = set(self._account.acknowledged)
            states = self._states()  # before the log, which then has whatever they have
            self._follow()
            self.findings.lost = acknowledged - self._in_log
            self.findings.behind = 0
            for user, state in states.items():
                applied = bisect_right(self._numbers[user], state.applied_sequence)
                right = (applied, self._interactions[user][applied])
                if (state.state_version, state.n_interactions) != right:
                    self.findings.wrong_states.add(user)
                self.findings.behind += applied < len(self._numbers[user])
        return self.findings

    def behind(self, until: int | None = None) -> int:
        """How many users' states lack events of the log up to number `until`, by default to its end as it is now.

        Raises `StoreError` while the store is out of reach.
        """
        target = self._log.last() if until is None else until
        with self._looking:
            states = self._states()
            self._follow()
            return sum(
                bisect_right(self._numbers[user], state.applied_sequence) < bisect_right(self._numbers[user], target)
                for user, state in states.items()
            )

    def last(self) -> int:
        """Number of the newest event in the log."""
        return self._log.last()

    def close(self) -> None:
        self._log.close()
        self._store.close()

    def __len__(self) -> int:
        """Events in the log since the check began."""
        return len(self._in_log)

    def _states(self) -> dict[str, UserState]:
        keys = [state_key(f"u:{user}") for user in _USERS]
        values = self._store.get_many(keys, Deadline.after(self._clock, 5_000))
        return {user: UserState.unpack(value) for user, value in zip(_USERS, values, strict=True)}

    def _follow(self) -> None:
        for number, event in self._new_events():
            self._after = number
            if event is None:
                self.findings.torn.add(f"number {number}")
                continue
            self._hold_against_sent(event)
            if event.user_id is not None:
                self._numbers[event.user_id].append(number)
                counts = self._interactions[event.user_id]
                counts.append(counts[-1] + (event.action in INTERACTIONS))

    def _new_events(self) -> Iterator[tuple[int, Event | None]]:
        """None for one that cannot be read."""
        while self._after < self._log.last():
            try:
                yield from self._log.read(self._after, _BATCH)
            except StoreError:
                try:
                    yield from self._log.read(self._after, 1)
                except StoreError:
                    yield self._after + 1, None

    def _hold_against_sent(self, event: Event) -> None:
        findings, sent = self.findings, self._account.sent.get(event.event_id)
        if sent is None:
            findings.never_sent.add(event.event_id)
        elif {name: msgspec.to_builtins(getattr(event, name)) for name in sent} != sent:
            findings.torn.add(event.event_id)
        if event.event_id in self._in_log:
            findings.twice.add(event.event_id)
        self._in_log.add(event.event_id)
