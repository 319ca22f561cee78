"""Shortlists in two levels: a worker's own memory (L1), then the store that all workers share (L2)."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from upnext.ahead.l1 import L1, AtHand, Key
from upnext.ahead.making import is_enough, shortlist_of, take_shortlist
from upnext.clock import Clock, Deadline
from upnext.funnel.answer import Answer
from upnext.funnel.live import Live
from upnext.funnel.request import SlateRequest
from upnext.funnel.route import LIVE_ABSENT, LIVE_SHORT, Route, route_of
from upnext.settings import AheadSettings
from upnext.state.changes import Change, Changes
from upnext.state.shortlist import Origin, Shortlist, shortlist_key
from upnext.state.user_state import UserState, state_key
from upnext.store.interface import Store

_AT_ONCE = 200  # shortlists in one write
_SWEPT_AT_ONCE = 200
_OTHER_WISHES = ("filter", "depth")
_UNCHANGED = (0, 0)  # of nobody in particular


Beside: TypeAlias = dict[bytes, bytes | None]  # values by key, read in one go with a user's state


class Found(NamedTuple):
    """The route of a request, and what it is answered from where that is not `live`."""

    route: Route
    at_hand: AtHand | None


class Shortlists:
    """Those of one tenant, as one worker sees them.

    A shortlist in L1 is believed without a look at the store, as long as nobody marked its user as changed: see
    `Changes`. What comes from L2 is read together with its user's state.

    For the thread of the event loop, but for what says otherwise.
    """

    def __init__(
        self,
        store: Store,
        changes: Changes,
        clock: Clock,
        settings: AheadSettings,
        *,
        local: bool,
        trusted: Callable[[], bool] = lambda: True,
    ) -> None:
        """`local`: the store is of this machine, and reading it takes microseconds.

        `trusted` tells whether all changes of states are marked in `changes`; while they are not, L1 is passed over.
        """
        self._store = store
        self._changes = changes
        self._clock = clock
        self._settings = settings
        self.local = local
        self._trusted = trusted
        self._never = Deadline.never(clock)
        self.l1 = L1(settings.l1_bytes, settings.l1_pinned_share)
        self._queue: deque[tuple[str, Shortlist]] = deque(maxlen=settings.queue)
        self.dropped = 0  # shortlists that other workers will not find, since too many waited to be stored

    def change_of(self, subject: str | None) -> Change:
        """To be taken before the state is read of which a shortlist is made. Any thread."""
        return _UNCHANGED if subject is None else self._changes.of(subject)

    def find(self, live: Live, request: SlateRequest) -> Found:
        """What the request is answered from, looked for where looking takes microseconds.

        In L1; then, where the store is of this machine, in L2. Raises `StoreError`.
        """
        key = _key_of(request)
        at_hand = self._in_l1(key, request.subject)
        route = LIVE_ABSENT
        if at_hand is not None:
            shortlist = at_hand.shortlist
            route = self.route(live, request, shortlist, shortlist.n_moves)
            if route.name != "live":
                return Found(route, at_hand)
            self.l1.drop(key)
        if not self.local or request.subject is None:
            return Found(route, None)
        change = self._changes.of(request.subject)
        raw, raw_state = self._store.get_many([shortlist_key(request.subject), state_key(request.subject)], self._never)
        shortlist_stored = Shortlist.unpack(raw)
        if shortlist_stored is None:
            return Found(route, None)
        state = UserState.unpack(raw_state)
        route = self.route(live, request, shortlist_stored, state.n_moves)
        if route.name == "live":
            return Found(route, None)
        seen = live.funnel.catalog.rows_of(state.seen)
        at_hand = AtHand(shortlist_stored, seen[seen >= 0], state.state_version, change)
        self.l1.put(key, at_hand)
        return Found(route, at_hand)

    def route(self, live: Live, request: SlateRequest, shortlist: Shortlist | None, n_moves: int) -> Route:
        """See `route_of`. Any thread."""
        return route_of(
            request,
            shortlist,
            release=live.release_id,
            n_moves=n_moves,
            now_ms=self._clock.now_ms(),
            depths=live.funnel.depths,
            settings=self._settings,
        )

    def beside(self, subject: str | None) -> Beside:
        """What to read beside the state of `subject`, for `take_beside`. Any thread."""
        return {} if subject is None else {shortlist_key(subject): None}

    def take_beside(self, live: Live, request: SlateRequest, answer: Answer, beside: Beside) -> bool:
        """Whether `answer`, whose user's state was just read with what is `beside` it, is answered from there.

        Then it holds the shortlist; otherwise it knows why not. Any thread.
        """
        for raw in beside.values():
            shortlist = Shortlist.unpack(raw)
            route = self.route(live, request, shortlist, answer.n_moves)
            if shortlist is not None and route.name != "live":
                if is_enough(shortlist, request):
                    take_shortlist(answer, shortlist, route)
                    return True
                route = LIVE_SHORT
            answer.why = route.why
        return False

    def take_in(self, request: SlateRequest, shortlist: Shortlist, answer: Answer, change: Change) -> None:
        """Keeps in L1 what was found in L2 on the way of a request."""
        self.l1.put(_key_of(request), AtHand(shortlist, answer.seen_rows, answer.state_version, change))

    def keep(self, live: Live, request: SlateRequest, answer: Answer, change: Change) -> None:
        """Keeps what an ordinary request worked out, for the next one of the same user; `change` as of before it.

        What only another filter or depth asked for does not replace the user's shortlist in L2.
        """
        shortlist = self._made(live, request, answer, "live") if self._settings.reuse else None
        if shortlist is None:
            return
        self.l1.put(_key_of(request), AtHand(shortlist, answer.seen_rows, answer.state_version, change))
        if answer.why not in _OTHER_WISHES:
            self._offer(request.subject, shortlist)

    def keep_stored(self, live: Live, request: SlateRequest, answer: Answer, origin: Origin) -> bool:
        """Queues for L2 what was worked out before it was asked for; whether there was something. Any thread."""
        shortlist = self._made(live, request, answer, origin)
        if shortlist is not None:
            self._offer(request.subject, shortlist)
        return shortlist is not None

    def sweep(self) -> None:
        """Lets go of some that can answer no more, since their users changed: now and then, so that none stays long."""
        for key in self.l1.next_keys(_SWEPT_AT_ONCE):
            at_hand, subject = self.l1.look(key), key[0]
            if at_hand is not None and subject and at_hand.change != self._changes.of(subject):
                self.l1.drop(key)

    def write(self) -> None:
        """Stores what is queued, each for as long as it may answer; for a thread of its own, now and then.

        Not those whose users have moved since, or were erased. Raises `StoreError`; what was not stored is
        worked out again.
        """
        while self._queue:
            some = dict(self._queue.popleft() for _ in range(min(_AT_ONCE, len(self._queue))))  # the newest of each
            states = self._store.get_many([state_key(subject) for subject in some], self._never)
            items = [
                (shortlist_key(subject), shortlist.pack())
                for (subject, shortlist), state in zip(some.items(), states, strict=True)
                if UserState.unpack(state).n_moves == shortlist.n_moves
            ]
            if items:
                self._store.put_many(items, self._never, ttl_ms=max(self._settings.live_age_ms, 1))

    def _in_l1(self, key: Key, subject: str | None) -> AtHand | None:
        at_hand = self.l1.get(key) if self._trusted() else None
        if at_hand is None or subject is None or at_hand.change == self._changes.of(subject):
            return at_hand
        self.l1.drop(key)
        return None

    def _made(self, live: Live, request: SlateRequest, answer: Answer, origin: Origin) -> Shortlist | None:
        now_ms = self._clock.now_ms()
        return shortlist_of(
            request, answer, release=live.release_id, now_ms=now_ms, origin=origin, below=self._settings.below
        )

    def _offer(self, subject: str | None, shortlist: Shortlist) -> None:
        """Nobody's is for this worker alone, and so is that of users of whom there is nothing to tell."""
        if subject is None or not shortlist.n_moves:
            return
        self.dropped += len(self._queue) == self._queue.maxlen
        self._queue.append((subject, shortlist))


def _key_of(request: SlateRequest) -> Key:
    return (request.subject or "", request.region, request.genres)
